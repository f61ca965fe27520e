"""services.ingest.stream.receipt_buffer: receipts in order, up to a limit, in bounded memory."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.stream import receipt_buffer
from services.ingest.stream.receipt_buffer import (
    LIMIT_BYTES,
    MEMORY_BYTES,
    DiskBudget,
    ReceiptBuffer,
    ReceiptBufferFullError,
)

LINE = b'{"line":1,"status":"accepted"}\n'
MEGABYTE = LINE * (MEMORY_BYTES // len(LINE))


async def rest(one: ReceiptBuffer) -> bytes:
    return b"".join([piece async for piece in one.pieces()])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 9), st.randoms(use_true_random=False))
def test_data_is_read_in_the_order_written(sizes: list[int], memory: int, rng: random.Random) -> None:
    """Tiny segments, so that many of them are created and freed."""

    async def alternate() -> None:
        written, read = b"", b""
        with closing(ReceiptBuffer(DiskBudget())) as one:
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
        patch.setattr(receipt_buffer, "MEMORY_BYTES", memory)
        patch.setattr(receipt_buffer, "_FILE_BYTES", 2 * memory)
        asyncio.run(alternate())


async def test_above_the_limit_only_new_data_is_refused() -> None:
    one = ReceiptBuffer(DiskBudget(), limit=100)
    one.put(b"a" * 60 + b"\n")
    with pytest.raises(ReceiptBufferFullError):
        one.put(b"b" * 40)
    one.put(b"c" * 38 + b"\n")
    one.end(b"the last line is kept in any case\n")
    assert await rest(one) == b"a" * 60 + b"\n" + b"c" * 38 + b"\nthe last line is kept in any case\n"


async def test_reading_frees_space() -> None:
    one = ReceiptBuffer(DiskBudget(), limit=100)
    reader = one.pieces()
    for _ in range(1_000):
        one.put(b"x" * 89 + b"\n")
        assert len(await anext(reader)) == 90
    one.end()
    assert [piece async for piece in reader] == []


async def test_pieces_end_with_a_line() -> None:
    one = ReceiptBuffer(DiskBudget())
    one.put(LINE * 10_000)
    one.end()
    pieces = [piece async for piece in one.pieces()]
    assert len(pieces) > 1
    assert all(piece.endswith(b"\n") for piece in pieces)


async def test_a_reader_waits_for_more() -> None:
    one = ReceiptBuffer(DiskBudget())
    reading = asyncio.create_task(rest(one))
    for _ in range(3):
        await asyncio.sleep(0)
        one.put(LINE)
    assert not reading.done()
    one.end()
    assert await reading == LINE * 3


async def test_large_unread_data_is_in_files_that_are_deleted() -> None:
    before = open_files()
    tracemalloc.start()
    one = ReceiptBuffer(DiskBudget())
    while True:
        try:
            one.put(MEGABYTE)
        except ReceiptBufferFullError:
            break
    _, peak = tracemalloc.get_traced_memory()
    assert peak < 6 * MEMORY_BYTES
    tracemalloc.stop()
    assert before < open_files() <= before + 6
    one.end()
    assert len(await rest(one)) > LIMIT_BYTES - len(MEGABYTE)
    assert open_files() == before


async def test_a_slow_reader_does_not_let_the_files_grow() -> None:
    """A stream may be far longer than the limit."""
    before = open_files()
    one = ReceiptBuffer(DiskBudget())
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


async def test_close_deletes_unread_data() -> None:
    before = open_files()
    one = ReceiptBuffer(DiskBudget())
    for _ in range(20):
        one.put(MEGABYTE)
    one.close()
    assert open_files() == before


async def test_the_disk_budget_does_not_affect_clients_that_read_in_time() -> None:
    shelf = DiskBudget(limit=5 * MEMORY_BYTES)
    idle = [ReceiptBuffer(shelf) for _ in range(4)]
    refused = 0
    for turn in range(24):
        try:
            idle[turn % 4].put(MEGABYTE)
        except ReceiptBufferFullError:
            refused += 1
    assert refused >= 2
    assert shelf.used <= 5 * MEMORY_BYTES
    reading = ReceiptBuffer(shelf)
    reader = reading.pieces()
    for _ in range(50):
        reading.put(MEGABYTE)
        taken = 0
        while taken < len(MEGABYTE):
            taken += len(await anext(reader))
    for one in (*idle, reading):
        one.close()
    assert shelf.used == 0


async def test_reading_frees_space_for_other_buffers() -> None:
    shelf = DiskBudget(limit=2 * MEMORY_BYTES)
    one, other = ReceiptBuffer(shelf), ReceiptBuffer(shelf)
    for _ in range(3):
        one.put(MEGABYTE)
    with pytest.raises(ReceiptBufferFullError):
        other.put(MEGABYTE * 2)
    one.end()
    assert len(await rest(one)) == 3 * len(MEGABYTE)
    other.put(MEGABYTE * 2)
    other.close()
    assert shelf.used == 0
