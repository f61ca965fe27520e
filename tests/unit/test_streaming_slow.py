"""services.ingest.streaming with clients that take their time: to send a line, or to read what they are told."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from services.ingest import spool, streaming, windows
from services.ingest.receipts import Receipt, encode_lines
from services.ingest.windows import WINDOW, CutOffError
from tests.support.waiting import until
from tests.unit.sample_stream import Client, Log, answered, assert_complete, start


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def client() -> Client:
    return Client()


async def test_a_client_that_leaves_us_waiting_is_told_behind_the_receipts_of_what_came(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 0.2)
    await answered(client, log, b"a\nb\nhalf a li")
    assert_complete(client)
    *receipts, last = client.lines
    assert [one["status"] for one in receipts] == ["accepted", "accepted"]
    assert last["error"]["code"] == "too-slow"
    assert log.stored == [b"a", b"b"]


async def test_a_client_that_never_ends_its_line_is_told_though_bytes_come(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 0.3)
    answering = start(client, log)

    async def dribble() -> None:
        while True:
            client.put(b"x")
            await asyncio.sleep(0.02)

    dribbling = asyncio.create_task(dribble())
    await asyncio.wait_for(answering, 60)
    dribbling.cancel()
    assert [line["error"]["code"] for line in client.lines] == ["too-slow"]


async def test_an_empty_line_now_and_then_keeps_a_stream_that_has_nothing_to_say(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 1.0)
    answering = start(client, log)
    for _ in range(10):
        client.put(b"\n")
        await asyncio.sleep(0.2)
    client.put(b"a\n", None)
    await asyncio.wait_for(answering, 60)
    assert client.lines[-1]["summary"]["accepted"] == 1


async def test_time_in_which_the_log_keeps_us_waiting_is_not_the_clients(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 1.0)
    log.open.clear()
    client.put(*[b"x\n" * 1_000] * 5, b"half a line")
    answering = start(client, log)
    await asyncio.sleep(1.5)
    log.open.set()

    async def stored() -> bool:
        return len(log.stored) == 5_000

    await until(stored, "all whole lines stored")
    client.put(b" and the rest\n", None)
    await asyncio.wait_for(answering, 60)
    assert client.lines[-1]["summary"]["accepted"] == 5_001


async def all_sent(client: Client) -> bool:
    return client.pieces.empty()


async def test_a_client_that_reads_only_when_all_is_sent_is_told_what_was_stored(client: Client, log: Log) -> None:
    """Its body is read to the end, or it would never come to read; what it is not told of is not stored."""
    answering = start(client, log, limit=200_000)
    await asyncio.sleep(0)  # the head of the answer is sent
    client.reads.clear()
    client.put(*[b"x\n" * 1_000] * 50, None)
    await until(lambda: all_sent(client), "the body read to its end")
    assert not answering.done()
    client.reads.set()
    await asyncio.wait_for(answering, 60)
    assert_complete(client)
    *receipts, last = client.lines
    assert last["error"]["code"] == "receipts-not-read"
    assert "other clients" in last["error"]["detail"], "it may be they that do not read"
    assert [one["line"] for one in receipts] == list(range(1, len(receipts) + 1))
    assert 1_000 <= len(receipts) <= len(log.stored) <= len(receipts) + 3 * WINDOW


async def ended_by_an_error(client: Client, log: Log) -> asyncio.Task[None]:
    """A stream that is no gzip from some place on, of which nothing is read."""
    answering = start(client, log, "gzip")
    await asyncio.sleep(0)  # the head of the answer is sent
    client.reads.clear()
    client.put(gzip.compress(b"x\n" * 1_000), b"no gzip")
    return answering


async def test_a_client_that_reads_only_when_all_is_sent_is_told_of_an_error_too(client: Client, log: Log) -> None:
    answering = await ended_by_an_error(client, log)
    client.put(*[b"more"] * 100, None)
    await until(lambda: all_sent(client), "the body read to its end")
    assert not answering.done()
    client.reads.set()
    await asyncio.wait_for(answering, 60)
    assert_complete(client)
    assert [one.get("line") for one in client.lines[:-1]] == list(range(1, 1_001))
    assert client.lines[-1]["error"]["code"] == "bad-compression"


async def test_a_client_that_sends_for_ever_behind_an_error_and_reads_nothing_is_cut_off(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_REST_SECONDS", 0.3)
    answering = await ended_by_an_error(client, log)

    async def send() -> None:
        while True:
            client.put(b"more")
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(send())
    with pytest.raises(CutOffError):
        await asyncio.wait_for(answering, 60)
    sending.cancel()


async def test_a_client_that_is_slow_to_read_is_told_all(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_REST_SECONDS", 0.1)  # its body has ended: there is nothing to wait for
    answering = start(client, log)
    await asyncio.sleep(0)  # the head of the answer is sent
    client.reads.clear()
    client.put(*[b"x\n" * 1_000] * 30, None)
    await until(lambda: all_sent(client), "the body read to its end")
    await asyncio.sleep(0.3)
    client.reads.set()
    await asyncio.wait_for(answering, 60)
    assert client.lines[-1] == {"summary": {"lines": 30_000, "accepted": 30_000, "rejected": 0, "unavailable": 0}}


def test_the_receipts_of_ten_thousand_lines_are_kept_unread() -> None:
    """As the message says to one that left too many."""
    receipt = Receipt(10_000, "rejected", False, "x" * 128, "jurisdiction-not-allowed", "y" * 200)
    assert 10_000 * len(encode_lines([receipt])) < spool.LIMIT_BYTES
