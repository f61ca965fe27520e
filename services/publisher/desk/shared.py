"""A value that many readers share, so that their number does not change how often it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Reads a value again when it is `seconds` old, and at least `times` as old as its last reading took.

    So reading takes at most the share 1 / (1 + times) of the time. Concurrent readers share one reading.
    """

    def __init__(
        self, read: Callable[[], Awaitable[T]], monotonic: Callable[[], float], *, seconds: float, times: float
    ) -> None:
        """`monotonic`: a clock in seconds that never goes back."""
        self._read = read
        self._monotonic = monotonic
        self._seconds = seconds
        self._times = times
        self._fresh_until = float("-inf")
        self._reading: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The shared value. If its reading raises an error, all of its readers get the error, and the next reads again.

        A caller that is cancelled or has a time limit does not end the reading.
        """
        reading = self._reading
        if reading is None or (reading.done() and (_failed(reading) or self._monotonic() >= self._fresh_until)):
            self._reading = reading = asyncio.create_task(self._timed(), name="desk")
        return await asyncio.shield(reading)

    async def close(self) -> None:
        """End a reading in progress."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._reading

    async def _timed(self) -> T:
        began = self._monotonic()
        value = await self._read()
        took = self._monotonic() - began
        self._fresh_until = began + took + max(self._seconds, self._times * took)
        return value


def _failed(reading: asyncio.Task[T]) -> bool:
    return reading.cancelled() or reading.exception() is not None
