"""services.ingest.spool: receipts in order, up to a limit, in memory that does not grow."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest import spool
from services.ingest.spool import LIMIT_BYTES, MEMORY_BYTES, NotReadError, Shelf, Spool
from tests.unit.sample_events import quick

LINE = b'{"line":1,"status":"accepted"}\n'
MEGABYTE = LINE * (MEMORY_BYTES // len(LINE))


async def rest(one: Spool) -> bytes:
    return b"".join([piece async for piece in one.pieces()])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 9), st.randoms(use_true_random=False))
@quick
def test_all_comes_out_in_order_however_reading_and_writing_alternate(
    sizes: list[int], memory: int, rng: random.Random
) -> None:
    """With tiny segments, so that many of them are begun and given back."""

    async def alternate() -> None:
        written, read = b"", b""
        with closing(Spool(Shelf())) as one:
            reader = one.pieces()
            for number, size in enumerate(sizes):
                data = (b"%d" % number * size) + b"\n"
                one.put(data)
                written += data
                if rng.random() < 0.4:
                    read += await anext(reader)
            one.end(b"last\n")
            async for piece in reader:
                read += piece
            assert read == written + b"last\n"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "MEMORY_BYTES", memory)
        patch.setattr(spool, "_FILE_BYTES", 2 * memory)
        asyncio.run(alternate())


async def test_above_the_limit_nothing_is_kept_of_what_was_put_and_all_of_what_was_before() -> None:
    one = Spool(Shelf(), limit=100)
    one.put(b"a" * 60 + b"\n")
    with pytest.raises(NotReadError):
        one.put(b"b" * 40)
    one.put(b"c" * 38 + b"\n")
    one.end(b"the last line is kept in any case\n")
    assert await rest(one) == b"a" * 60 + b"\n" + b"c" * 38 + b"\nthe last line is kept in any case\n"


async def test_what_has_been_read_makes_room() -> None:
    one = Spool(Shelf(), limit=100)
    reader = one.pieces()
    for _ in range(1_000):
        one.put(b"x" * 89 + b"\n")
        assert len(await anext(reader)) == 90
    one.end()
    assert [piece async for piece in reader] == []


async def test_pieces_end_with_a_line() -> None:
    one = Spool(Shelf())
    one.put(LINE * 10_000)
    one.end()
    pieces = [piece async for piece in one.pieces()]
    assert len(pieces) > 1
    assert all(piece.endswith(b"\n") for piece in pieces)


async def test_a_reader_waits_for_more() -> None:
    one = Spool(Shelf())
    reading = asyncio.create_task(rest(one))
    for _ in range(3):
        await asyncio.sleep(0)
        one.put(LINE)
    assert not reading.done()
    one.end()
    assert await reading == LINE * 3


async def test_much_that_is_not_read_is_in_files_that_are_given_back() -> None:
    before = open_files()
    tracemalloc.start()
    one = Spool(Shelf())
    while True:
        try:
            one.put(MEGABYTE)
        except NotReadError:
            break
    _, peak = tracemalloc.get_traced_memory()
    assert peak < 6 * MEMORY_BYTES
    tracemalloc.stop()
    assert before < open_files() <= before + 6
    one.end()
    assert len(await rest(one)) > LIMIT_BYTES - len(MEGABYTE)
    assert open_files() == before


async def test_a_reader_that_always_lags_does_not_let_the_files_grow() -> None:
    """A stream may be far longer than the limit."""
    before = open_files()
    one = Spool(Shelf())
    reader = one.pieces()
    one.put(MEGABYTE * 3)
    for _ in range(200):
        one.put(MEGABYTE)
        taken = 0
        while taken < len(MEGABYTE):
            taken += len(await anext(reader))
        assert open_files() <= before + 2
    one.close()
    assert open_files() == before


async def test_close_gives_back_what_nobody_read() -> None:
    before = open_files()
    one = Spool(Shelf())
    for _ in range(20):
        one.put(MEGABYTE)
    one.close()
    assert open_files() == before


async def test_what_all_leave_unread_has_a_limit_and_who_reads_in_time_does_not_meet_it() -> None:
    shelf = Shelf(limit=5 * MEMORY_BYTES)
    idle = [Spool(shelf) for _ in range(4)]
    refused = 0
    for turn in range(24):
        try:
            idle[turn % 4].put(MEGABYTE)
        except NotReadError:
            refused += 1
    assert refused >= 2
    assert shelf.used <= 5 * MEMORY_BYTES
    reading = Spool(shelf)
    reader = reading.pieces()
    for _ in range(50):
        reading.put(MEGABYTE)
        taken = 0
        while taken < len(MEGABYTE):
            taken += len(await anext(reader))
    for one in (*idle, reading):
        one.close()
    assert shelf.used == 0


async def test_what_has_been_read_makes_room_for_others() -> None:
    shelf = Shelf(limit=2 * MEMORY_BYTES)
    one, other = Spool(shelf), Spool(shelf)
    for _ in range(3):
        one.put(MEGABYTE)
    with pytest.raises(NotReadError):
        other.put(MEGABYTE * 2)
    one.end()
    assert len(await rest(one)) == 3 * len(MEGABYTE)
    other.put(MEGABYTE * 2)
    other.close()
    assert shelf.used == 0
