"""services.ingest.stream.windows: the size and the context of windows."""

from __future__ import annotations

import asyncio
import gzip
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable
from itertools import count

import pytest

from services.ingest.body.compression import inflator
from services.ingest.stream import windows
from services.ingest.stream.windows import WINDOW, WINDOW_BYTES, StreamEndedError, WindowContext
from tests.support.compressing import zstd
from tests.support.waiting import until
from tests.unit.sample_stream import Client, Log, assert_complete, judge, refused, respond_to, start


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def client() -> Client:
    return Client()


async def test_a_window_is_limited_in_bytes(client: Client, log: Log) -> None:
    """Otherwise three windows of 16 kB lines would take 48 MB."""
    lines = 500
    size = 16_000
    await respond_to(client, log, *[b"x" * (size - 1) + b"\n"] * lines, None)
    assert max(log.windows) == -(-WINDOW_BYTES // (size - 1))
    assert sum(log.windows) == lines == len(client.lines) - 1


async def test_a_window_is_limited_in_time(client: Client, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_SECONDS", 0.2)
    responding = start(client, log)

    async def dribble() -> None:
        while True:
            client.put(b"x\n")
            await asyncio.sleep(0.01)

    dribbling = asyncio.create_task(dribble())

    async def receipt_arrived() -> bool:
        return bool(client.lines)

    await until(receipt_arrived, "a receipt", 20)
    assert log.windows[0] < WINDOW
    dribbling.cancel()
    client.put(None)
    await responding


async def test_each_window_has_its_own_context(client: Client, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    async def begin() -> WindowContext:
        begun.append(len(begun) + 1)
        number = begun[-1]
        return WindowContext(number, lambda line, _: refused(line, f"by-{number}"), log.store)

    monkeypatch.setattr(log, "begin", begin)
    await respond_to(client, log, b"x\n" * 10, None)
    assert log.windows == [1, 2, 3, 4]
    assert [one["code"] for one in client.lines[:-1]] == [f"by-{n}" for n in (1, 2, 2, 3, 3, 3, 4, 4, 4, 4)]


async def test_a_stream_that_ingest_ends_reads_no_more(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin() -> WindowContext:
        if len(log.windows) == 2:
            raise StreamEndedError("unknown-key", "not any more")
        return WindowContext(10, judge, log.store)

    monkeypatch.setattr(log, "begin", begin)
    await respond_to(client, log, *[b"x\n" * 10] * 100)
    assert_complete(client)
    *receipts, last = client.lines
    assert last == {"error": {"code": "unknown-key", "detail": "not any more"}}
    assert len(receipts) == len(log.stored) == 20
    assert client.taken < 10


# Small bodies that expand to many lines, or to none.

NOISE = b"".join(b"%032x\n" % random.Random(number).getrandbits(128) for number in range(2_000))
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
few_bytes = pytest.mark.parametrize("encoding", PACKED)
short = pytest.mark.parametrize("line", [b"\n", b"\r\n", b"11\n"], ids=["blank", "CRLF", "two digits"])


async def judged(log: Log, encoding: str, body: bytes) -> int:
    """The number of judged lines of a body in one piece."""

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    lines = 0
    async for window in windows.windows(pieces(), inflator(encoding), log.begin):
        lines += len(window.judged)
    return lines


def bomb(encoding: str, line: bytes, size: int) -> tuple[bytes, int]:
    """A compressed body with `size` bytes of short lines, and its number of lines that are not blank."""
    lines = size // len(line)
    body = PACKED[encoding](NOISE + line * lines)
    assert len(body) < 60_000
    return body, 2_000 + (lines if line.strip() else 0)


@few_bytes
@short
async def test_short_lines_of_a_small_body_need_little_memory(log: Log, encoding: str, line: bytes) -> None:
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
async def test_other_tasks_run_between_the_pieces_of_a_small_body(log: Log, encoding: str, line: bytes) -> None:
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
    await respond_to(client, log, gzip.compress(b"\n" * 900_000 + b"x\n" + b"\r\n" * 5 + b"x"), None, encoding="gzip")
    assert [one.get("line") for one in client.lines] == [900_001, 900_007, None]
