"""services.publisher.desk.shared: how often a shared value is read."""

from __future__ import annotations

import asyncio

import pytest

from services.publisher.desk.shared import Shared


class Source:
    """Counts its readings. Each takes `takes` seconds of the clock."""

    def __init__(self, takes: float = 0.0) -> None:
        self.now = 0.0
        self.readings = 0
        self.takes = takes
        self.broken: Exception | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def read(self) -> int:
        self.readings += 1
        await self.may_end.wait()
        self.now += self.takes
        if self.broken:
            raise self.broken
        return self.readings

    def shared(self) -> Shared[int]:
        return Shared(self.read, lambda: self.now, seconds=2, times=3)


async def test_a_value_is_read_again_when_it_is_old() -> None:
    source = Source()
    shared = source.shared()
    assert [await shared.get(), await shared.get()] == [1, 1]
    source.now = 1.9
    assert await shared.get() == 1
    source.now = 2.0
    assert await shared.get() == 2


async def test_a_slow_value_is_read_at_most_a_quarter_of_the_time() -> None:
    source = Source(takes=5)
    shared = source.shared()
    await shared.get()
    source.now = 5 + 14.9
    assert await shared.get() == 1
    source.now = 5 + 15
    assert await shared.get() == 2


async def test_a_hundred_readers_at_once_cause_one_reading() -> None:
    source = Source()
    shared = source.shared()
    source.may_end.clear()
    readers = [asyncio.create_task(shared.get()) for _ in range(100)]
    await asyncio.sleep(0)
    source.may_end.set()
    assert set(await asyncio.gather(*readers)) == {1}


async def test_a_reader_that_leaves_does_not_end_the_reading() -> None:
    source = Source()
    shared = source.shared()
    source.may_end.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await shared.get()
    source.may_end.set()
    assert await shared.get() == 1


async def test_an_error_is_not_shared_with_later_readers() -> None:
    source = Source()
    shared = source.shared()
    source.broken = ValueError("planted")
    with pytest.raises(ValueError, match="planted"):
        await shared.get()
    source.broken = None
    assert await shared.get() == 2


async def test_closing_ends_a_reading() -> None:
    source = Source()
    shared = source.shared()
    source.may_end.clear()
    reader = asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    await shared.close()
    with pytest.raises(asyncio.CancelledError):
        await reader
