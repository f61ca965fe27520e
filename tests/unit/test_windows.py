"""services.ingest.windows: how long a window is, and what it is judged by."""

from __future__ import annotations

import asyncio

import pytest

from services.ingest import windows
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
