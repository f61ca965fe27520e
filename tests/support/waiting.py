"""Wait for a condition. The timeout is no performance requirement; it only ends a test that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


async def until(probe: Callable[[], Awaitable[_T]], what: str, seconds: float = 90) -> _T:
    """Call a function until its result is true, and return the result. Fails with the last result."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    pause = 0.001
    while True:
        result = await probe()
        if result:
            return result
        if clock() > deadline:
            raise AssertionError(f"{what}: not true after {seconds:g} s; the last result was {result!r}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.05)
