"""Waiting for something to become true, with a limit that stands for no speed: it only ends a test that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


async def until(ask: Callable[[], Awaitable[_T]], what: str, seconds: float = 90) -> _T:
    """Ask until the answer is true, and give it; fails, saying what was waited for and the last answer."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while True:
        answer = await ask()
        if answer:
            return answer
        if clock() > deadline:
            raise AssertionError(f"{what}: not so after {seconds:g} s; the last answer was {answer!r}")
        await asyncio.sleep(0.05)
