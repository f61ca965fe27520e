"""services.ingest.streaming: receipts go back while lines still come, and none says more than is so."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.ingest import spool, streaming, windows
from services.ingest.framing import inflator
from services.ingest.intake import Accepted, Judged, Rejected
from services.ingest.receipts import Receipt, encode_lines
from services.ingest.spool import Shelf, Spool
from services.ingest.windows import WINDOW, WINDOW_BYTES, CutOffError, StreamEndedError, Turn
from tests.support.waiting import until


def judge(line: int, value: bytes) -> Judged:
    """Lines that begin with 'bad' are refused."""
    if value.startswith(b"bad"):
        return refused(line, "not-json")
    return Accepted(line, None, "detainer-issued", 0, b"key", value)


def refused(line: int, code: str) -> Rejected:
    return Rejected(Receipt(line, "rejected", False, None, code, "x"), None)


class Log:
    """Stores windows when it is let to; knows how many wait."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.windows: list[int] = []
        self.waiting = 0
        self.most = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def begin(self) -> Turn:
        """Windows as large as may be."""
        return Turn(WINDOW, judge, self.store)

    async def store(self, judged: list[Judged]) -> list[Receipt]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self.windows.append(len(judged))
        try:
            await self.open.wait()
            if self.error:
                raise self.error
        finally:
            self.waiting -= 1
        receipts = []
        for one in judged:
            if isinstance(one, Accepted):
                receipts.append(one.stored(len(self.stored)))
                self.stored.append(one.value)
            else:
                receipts.append(one.receipt)
        return receipts


class Client:
    """Sends pieces when told to, and reads when told to."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[dict[str, Any]] = []
        self.taken = 0

    async def body(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            self.taken += 1
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)

    def put(self, *pieces: bytes | Exception | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = b"".join(message["body"] for message in self.sent[1:])
        assert text == b"" or text.endswith(b"\n")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def client() -> Client:
    return Client()


def start(client: Client, log: Log, encoding: str = "", limit: int = spool.LIMIT_BYTES) -> asyncio.Task[None]:
    kept = Spool(Shelf(), limit)
    return asyncio.create_task(streaming.answer(client.body(), inflator(encoding), log.begin, kept, client.send))


async def answered(client: Client, log: Log, *pieces: bytes | Exception | None, encoding: str = "") -> None:
    client.put(*pieces)
    await asyncio.wait_for(start(client, log, encoding), 30)


def assert_complete(client: Client) -> None:
    first, *_, last = client.sent
    assert (first["type"], first["status"]) == ("http.response.start", 207)
    assert dict(first["headers"])[b"content-type"] == b"application/x-ndjson"
    assert last == {"type": "http.response.body", "body": b"", "more_body": False}
    assert all(message["more_body"] for message in client.sent[1:-1])


async def test_each_line_has_a_receipt_in_order_and_the_last_line_is_the_summary(client: Client, log: Log) -> None:
    await answered(client, log, b"a\n\nbad 1\nb", b"b\r\n", b"c" * 20_000, b"\nd", None)
    assert_complete(client)
    *receipts, last = client.lines
    assert [(one["line"], one["status"], one.get("code")) for one in receipts] == [
        (1, "accepted", None),
        (3, "rejected", "not-json"),
        (4, "accepted", None),
        (5, "rejected", "too-large"),
        (6, "accepted", None),
    ]
    assert last == {"summary": {"lines": 5, "accepted": 3, "rejected": 2, "unavailable": 0}}
    assert log.stored == [b"a", b"bb", b"d"]


async def test_a_body_without_lines_has_a_summary(client: Client, log: Log) -> None:
    await answered(client, log, b"\n \n", None)
    assert client.lines == [{"summary": {"lines": 0, "accepted": 0, "rejected": 0, "unavailable": 0}}]
    assert log.windows == []


async def test_receipts_come_while_the_body_is_still_coming(client: Client, log: Log) -> None:
    answering = start(client, log)
    for number in range(1, 4):
        client.put(b"line %d\n" % number)

        async def told(number: int = number) -> bool:
            return len(client.lines) == number

        await until(told, "the receipt of a line that came alone", 5)
        assert not answering.done()
    client.put(None)
    await answering
    assert len(client.lines) == 4


async def test_windows_are_as_large_as_they_may_be(client: Client, log: Log) -> None:
    await answered(client, log, b"x\n" * 3_500, None)
    assert log.windows == [WINDOW, WINDOW, WINDOW, 500]
    assert [one["line"] for one in client.lines[:-1]] == list(range(1, 3_501))


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


async def test_at_most_two_windows_are_in_flight_and_no_more_is_read_than_a_third(client: Client, log: Log) -> None:
    log.open.clear()
    client.put(*[b"x\n" * 100] * 200)
    answering = start(client, log)

    async def two() -> bool:
        return log.waiting == 2

    await until(two, "two windows in flight", 5)
    await asyncio.sleep(0.2)
    assert log.most == 2
    assert client.taken <= 3 * WINDOW // 100 + 1
    log.open.set()
    client.put(None)
    await answering
    assert log.most == 2
    assert len(log.stored) == 20_000


async def test_cut_off_leaves_no_summary_and_stores_and_answers_what_was_read(client: Client, log: Log) -> None:
    await answered(client, log, b"a\nb\n" + b"x\n" * 2_500 + b"half a li", CutOffError())
    assert_complete(client)
    assert [one["status"] for one in client.lines] == ["accepted"] * 2_502
    assert len(log.stored) == 2_502, "all but the line that did not end"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_framing_error_ends_the_stream_behind_the_receipts_of_what_came_before(
    client: Client, log: Log, encoding: str
) -> None:
    body = gzip.compress(b"x\n" * 1_500)
    pieces = (body, b"no member") if encoding == "gzip" else (b"nor this",)
    await answered(client, log, *pieces, b"more", None, encoding=encoding)
    assert_complete(client)
    *receipts, last = client.lines
    assert len(receipts) == len(log.stored) == (1_500 if encoding == "gzip" else 0)
    assert last["error"]["code"] == "bad-compression"


async def test_a_compressed_body_that_is_cut_off_is_told(client: Client, log: Log) -> None:
    await answered(client, log, gzip.compress(b"x\n" * 1_500)[:-4], None, encoding="gzip")
    assert client.lines[-1]["error"]["code"] == "bad-compression"
    assert len(client.lines) == 1_501


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
    await asyncio.wait_for(answering, 30)
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
    await asyncio.wait_for(answering, 30)
    assert client.lines[-1]["summary"]["accepted"] == 1


async def test_time_in_which_the_log_keeps_us_waiting_is_not_the_clients(
    client: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LINE_SECONDS", 0.3)
    log.open.clear()
    client.put(*[b"x\n" * 1_000] * 5, b"half a line", b" and the rest\n", None)
    answering = start(client, log)
    await asyncio.sleep(1)
    log.open.set()
    await asyncio.wait_for(answering, 30)
    assert client.lines[-1]["summary"]["accepted"] == 5_001


async def test_a_client_that_reads_only_when_all_is_sent_is_told_what_was_stored(client: Client, log: Log) -> None:
    """Its body is read to the end, or it would never come to read; what it is not told of is not stored."""
    answering = start(client, log, limit=200_000)
    await asyncio.sleep(0)
    client.reads.clear()
    client.put(*[b"x\n" * 1_000] * 50, None)

    async def all_sent() -> bool:
        return client.pieces.empty()

    await until(all_sent, "the body read to its end", 10)
    assert not answering.done()
    client.reads.set()
    await asyncio.wait_for(answering, 10)
    assert_complete(client)
    *receipts, last = client.lines
    assert last["error"]["code"] == "receipts-not-read"
    assert [one["line"] for one in receipts] == list(range(1, len(receipts) + 1))
    assert 1_000 <= len(receipts) <= len(log.stored) <= len(receipts) + 3 * WINDOW


async def test_a_client_that_is_slow_to_read_is_told_all(client: Client, log: Log) -> None:
    answering = start(client, log)
    client.reads.clear()
    client.put(*[b"x\n" * 1_000] * 30, None)
    await asyncio.sleep(0.2)
    client.reads.set()
    await asyncio.wait_for(answering, 10)
    assert client.lines[-1] == {"summary": {"lines": 30_000, "accepted": 30_000, "rejected": 0, "unavailable": 0}}


async def test_what_fails_leaves_no_task_and_no_file_behind(client: Client, log: Log) -> None:
    before = asyncio.all_tasks()
    log.error = OSError("disk full")
    client.put(*[b"x\n" * 1_000] * 10)
    with pytest.raises(OSError, match="disk full"):
        await asyncio.wait_for(start(client, log), 10)
    assert asyncio.all_tasks() == before


async def test_when_it_is_cancelled_it_leaves_no_task_behind(client: Client, log: Log) -> None:
    before = asyncio.all_tasks()
    log.open.clear()
    client.put(*[b"x\n" * 1_000] * 10)
    answering = start(client, log)
    await asyncio.sleep(0.1)
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    assert asyncio.all_tasks() == before


def test_the_receipts_of_ten_thousand_lines_are_kept_unread() -> None:
    """As the message says to one that left too many."""
    receipt = Receipt(10_000, "rejected", False, "x" * 128, "jurisdiction-not-allowed", "y" * 200)
    assert 10_000 * len(encode_lines([receipt])) < spool.LIMIT_BYTES
