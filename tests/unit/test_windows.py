"""services.ingest.windows: how long a window is, and what it is judged by."""

from __future__ import annotations

import asyncio
import gzip
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable
from itertools import count

import pytest
import zstandard

from services.ingest import windows
from services.ingest.framing import inflator
from services.ingest.windows import WINDOW, WINDOW_BYTES, StreamEndedError, Turn
from tests.support.waiting import until
from tests.unit.sample_stream import Client, Log, answered, assert_complete, judge, refused, start


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def client() -> Client:
    return Client()


async def test_a_window_of_long_lines_ends_at_its_bytes(client: Client, log: Log) -> None:
    """Else lines of 16 kB, blanks most of them, would make three windows 48 MB."""
    lines = 500
    size = 16_000
    await answered(client, log, *[b"x" * (size - 1) + b"\n"] * lines, None)
    assert max(log.windows) == -(-WINDOW_BYTES // (size - 1))
    assert sum(log.windows) == lines == len(client.lines) - 1


async def test_a_client_that_never_pauses_has_its_receipts_though_its_window_is_not_full(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_SECONDS", 0.2)
    answering = start(client, log)

    async def dribble() -> None:
        while True:
            client.put(b"x\n")
            await asyncio.sleep(0.01)

    dribbling = asyncio.create_task(dribble())

    async def told() -> bool:
        return bool(client.lines)

    await until(told, "a receipt", 20)
    assert log.windows[0] < WINDOW
    dribbling.cancel()
    client.put(None)
    await answering


async def test_each_window_is_judged_by_what_holds_when_it_begins_and_has_as_many_lines_as_it_may(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    async def begin() -> Turn:
        begun.append(len(begun) + 1)
        number = begun[-1]
        return Turn(number, lambda line, _: refused(line, f"by-{number}"), log.store)

    monkeypatch.setattr(log, "begin", begin)
    await answered(client, log, b"x\n" * 10, None)
    assert log.windows == [1, 2, 3, 4]
    assert [one["code"] for one in client.lines[:-1]] == [f"by-{n}" for n in (1, 2, 2, 3, 3, 3, 4, 4, 4, 4)]


async def test_a_stream_that_we_end_says_why_behind_the_receipts_of_what_was_stored_and_reads_no_more(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin() -> Turn:
        if len(log.windows) == 2:
            raise StreamEndedError("unknown-key", "not any more")
        return Turn(10, judge, log.store)

    monkeypatch.setattr(log, "begin", begin)
    await answered(client, log, *[b"x\n" * 10] * 100)
    assert_complete(client)
    *receipts, last = client.lines
    assert last == {"error": {"code": "unknown-key", "detail": "not any more"}}
    assert len(receipts) == len(log.stored) == 20
    assert client.taken < 10


# Little that stands for many lines, or for none.

NOISE = b"".join(b"%032x\n" % random.Random(number).getrandbits(128) for number in range(2_000))
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}
few_bytes = pytest.mark.parametrize("encoding", PACKED)
short = pytest.mark.parametrize("line", [b"\n", b"\r\n", b"11\n"], ids=["blank", "CRLF", "two digits"])


async def judged(log: Log, encoding: str, body: bytes) -> int:
    """How many lines of a body, which comes as one piece, are judged."""

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    lines = 0
    async for window in windows.windows(pieces(), inflator(encoding), log.begin):
        lines += len(window.judged)
    return lines


def bomb(encoding: str, line: bytes, size: int) -> tuple[bytes, int]:
    """A body with so many bytes of short lines, and how many lines it has that are not blank."""
    lines = size // len(line)
    body = PACKED[encoding](NOISE + line * lines)
    assert len(body) < 60_000
    return body, 2_000 + (lines if line.strip() else 0)


@few_bytes
@short
async def test_short_lines_out_of_few_bytes_do_not_fill_the_memory(log: Log, encoding: str, line: bytes) -> None:
    body, expected = bomb(encoding, line, 600_000)
    tracemalloc.start()
    try:
        assert await judged(log, encoding, body) == expected
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


@few_bytes
@short
async def test_others_have_their_turn_between_the_pieces_of_few_bytes(log: Log, encoding: str, line: bytes) -> None:
    body, expected = bomb(encoding, line, 2_400_000)
    turns = count()

    async def other() -> None:
        while True:
            await asyncio.sleep(0)
            next(turns)

    others = asyncio.create_task(other())
    assert await judged(log, encoding, body) == expected
    others.cancel()
    assert next(turns) >= 2_400_000 // 262_144


async def test_blank_lines_are_counted_across_pieces_and_windows(log: Log, client: Client) -> None:
    await answered(client, log, gzip.compress(b"\n" * 900_000 + b"x\n" + b"\r\n" * 5 + b"x"), None, encoding="gzip")
    assert [one.get("line") for one in client.lines] == [900_001, 900_007, None]
