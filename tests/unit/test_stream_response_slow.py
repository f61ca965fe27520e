"""services.ingest.stream.response with clients that are slow to send a line or to read the response."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from services.ingest.body.errors import CutOffError
from services.ingest.receipts import Receipt, encode_lines
from services.ingest.stream import receipt_buffer, response, windows
from services.ingest.stream.windows import WINDOW
from tests.support.waiting import until
from tests.unit.sample_stream import Client, Log, assert_complete, respond_to, start


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def client() -> Client:
    return Client()


async def test_a_line_timeout_ends_the_stream_after_its_receipts(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 0.2)
    await respond_to(client, log, b"a\nb\nhalf a li")
    assert_complete(client)
    *receipts, last = client.lines
    assert [one["status"] for one in receipts] == ["accepted", "accepted"]
    assert last["error"]["code"] == "too-slow"
    assert log.stored == [b"a", b"b"]


async def test_bytes_without_a_line_break_do_not_extend_the_timeout(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 0.3)
    responding = start(client, log)

    async def dribble() -> None:
        while True:
            client.put(b"x")
            await asyncio.sleep(0.02)

    dribbling = asyncio.create_task(dribble())
    await asyncio.wait_for(responding, 60)
    dribbling.cancel()
    assert [line["error"]["code"] for line in client.lines] == ["too-slow"]


async def test_empty_lines_keep_an_idle_stream_open(client: Client, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 1.0)
    responding = start(client, log)
    for _ in range(10):
        client.put(b"\n")
        await asyncio.sleep(0.2)
    client.put(b"a\n", None)
    await asyncio.wait_for(responding, 60)
    assert client.lines[-1]["summary"]["accepted"] == 1


async def test_the_line_timeout_excludes_time_spent_waiting_for_kafka(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 1.0)
    log.open.clear()
    client.put(*[b"x\n" * 1_000] * 5, b"half a line")
    responding = start(client, log)
    await asyncio.sleep(1.5)
    log.open.set()

    async def stored() -> bool:
        return len(log.stored) == 5_000

    await until(stored, "all whole lines stored")
    client.put(b" and the rest\n", None)
    await asyncio.wait_for(responding, 60)
    assert client.lines[-1]["summary"]["accepted"] == 5_001


async def all_sent(client: Client) -> bool:
    return client.pieces.empty()


async def test_a_client_that_reads_last_gets_receipts_of_all_stored_events(client: Client, log: Log) -> None:
    """The body is read to its end, because the client reads only then. Events beyond the buffer are not stored."""
    responding = start(client, log, limit=200_000)
    await asyncio.sleep(0)  # the response has started
    client.reads.clear()
    client.put(*[b"x\n" * 1_000] * 50, None)
    await until(lambda: all_sent(client), "the body read to its end")
    assert not responding.done()
    client.reads.set()
    await asyncio.wait_for(responding, 60)
    assert_complete(client)
    *receipts, last = client.lines
    assert last["error"]["code"] == "receipts-not-read"
    assert "other clients" in last["error"]["detail"], "they may be the cause"
    assert [one["line"] for one in receipts] == list(range(1, len(receipts) + 1))
    assert 1_000 <= len(receipts) <= len(log.stored) <= len(receipts) + 3 * WINDOW


async def ended_by_an_error(client: Client, log: Log) -> asyncio.Task[None]:
    """A gzip stream with trailing data, whose response is not read."""
    responding = start(client, log, "gzip")
    await asyncio.sleep(0)  # the response has started
    client.reads.clear()
    client.put(gzip.compress(b"x\n" * 1_000), b"no gzip")
    return responding


async def test_a_client_that_reads_last_gets_the_error(client: Client, log: Log) -> None:
    responding = await ended_by_an_error(client, log)
    client.put(*[b"more"] * 100, None)
    await until(lambda: all_sent(client), "the body read to its end")
    assert not responding.done()
    client.reads.set()
    await asyncio.wait_for(responding, 60)
    assert_complete(client)
    assert [one.get("line") for one in client.lines[:-1]] == list(range(1, 1_001))
    assert client.lines[-1]["error"]["code"] == "bad-compression"


async def test_a_client_that_never_stops_sending_after_an_error_is_cut_off(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "_REST_SECONDS", 0.3)
    responding = await ended_by_an_error(client, log)

    async def send() -> None:
        while True:
            client.put(b"more")
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(send())
    with pytest.raises(CutOffError):
        await asyncio.wait_for(responding, 60)
    sending.cancel()


async def test_a_client_that_reads_slowly_gets_all_receipts(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "_REST_SECONDS", 0.1)  # does not apply: the body has ended
    responding = start(client, log)
    await asyncio.sleep(0)  # the response has started
    client.reads.clear()
    client.put(*[b"x\n" * 1_000] * 30, None)
    await until(lambda: all_sent(client), "the body read to its end")
    await asyncio.sleep(0.3)
    client.reads.set()
    await asyncio.wait_for(responding, 60)
    assert client.lines[-1] == {"summary": {"lines": 30_000, "accepted": 30_000, "rejected": 0, "unavailable": 0}}


def test_the_buffer_holds_the_receipts_of_ten_thousand_lines() -> None:
    """The error detail states this number."""
    receipt = Receipt(10_000, "rejected", False, "x" * 128, "jurisdiction-not-allowed", "y" * 200)
    assert 10_000 * len(encode_lines([receipt])) < receipt_buffer.LIMIT_BYTES
