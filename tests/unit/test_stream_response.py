"""services.ingest.stream.response: receipts are sent while lines are arriving."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from services.ingest.body.errors import CutOffError
from services.ingest.stream.windows import WINDOW
from tests.support.waiting import until
from tests.unit.sample_stream import Client, Log, assert_complete, respond_to, start


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def client() -> Client:
    return Client()


async def test_each_line_has_a_receipt_in_order_and_the_last_line_is_the_summary(client: Client, log: Log) -> None:
    await respond_to(client, log, b"a\n\nbad 1\nb", b"b\r\n", b"c" * 20_000, b"\nd", None)
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
    await respond_to(client, log, b"\n \n", None)
    assert client.lines == [{"summary": {"lines": 0, "accepted": 0, "rejected": 0, "unavailable": 0}}]
    assert log.windows == []


async def test_receipts_are_sent_while_the_body_is_arriving(client: Client, log: Log) -> None:
    responding = start(client, log)
    for number in range(1, 4):
        client.put(b"line %d\n" % number)

        async def receipt_arrived(number: int = number) -> bool:
            return len(client.lines) == number

        await until(receipt_arrived, "the receipt of a single line")
        assert not responding.done()
    client.put(None)
    await responding
    assert len(client.lines) == 4


async def test_windows_have_the_maximum_size(client: Client, log: Log) -> None:
    await respond_to(client, log, b"x\n" * 3_500, None)
    assert log.windows == [WINDOW, WINDOW, WINDOW, 500]
    assert [one["line"] for one in client.lines[:-1]] == list(range(1, 3_501))


async def test_two_windows_are_in_flight_and_one_is_read_ahead(client: Client, log: Log) -> None:
    log.open.clear()
    client.put(*[b"x\n" * 100] * 200)
    responding = start(client, log)

    async def two() -> bool:
        return log.waiting == 2

    await until(two, "two windows in flight")
    await asyncio.sleep(0.2)  # nothing more may be read
    assert log.most == 2
    assert client.taken <= 3 * WINDOW // 100 + 1
    log.open.set()
    client.put(None)
    await responding
    assert log.most == 2
    assert len(log.stored) == 20_000


async def test_a_cut_off_stream_has_receipts_but_no_summary(client: Client, log: Log) -> None:
    await respond_to(client, log, b"a\nb\n" + b"x\n" * 2_500 + b"half a li", CutOffError())
    assert_complete(client)
    assert [one["status"] for one in client.lines] == ["accepted"] * 2_502
    assert len(log.stored) == 2_502, "all except the incomplete line"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_framing_error_ends_the_stream_after_its_receipts(client: Client, log: Log, encoding: str) -> None:
    body = gzip.compress(b"x\n" * 1_500)
    pieces = (body, b"no member") if encoding == "gzip" else (b"nor this",)
    await respond_to(client, log, *pieces, b"more", None, encoding=encoding)
    assert_complete(client)
    *receipts, last = client.lines
    assert len(receipts) == len(log.stored) == (1_500 if encoding == "gzip" else 0)
    assert last["error"]["code"] == "bad-compression"


async def test_a_truncated_compressed_body_ends_with_an_error(client: Client, log: Log) -> None:
    await respond_to(client, log, gzip.compress(b"x\n" * 1_500)[:-4], None, encoding="gzip")
    assert client.lines[-1]["error"]["code"] == "bad-compression"
    assert len(client.lines) == 1_501


async def test_a_failure_leaves_no_tasks(client: Client, log: Log) -> None:
    before = asyncio.all_tasks()
    log.error = OSError("disk full")
    client.put(*[b"x\n" * 1_000] * 10)
    with pytest.raises(OSError, match="disk full"):
        await asyncio.wait_for(start(client, log), 60)
    assert asyncio.all_tasks() == before


async def test_cancelling_leaves_no_tasks(client: Client, log: Log) -> None:
    before = asyncio.all_tasks()
    log.open.clear()
    client.put(*[b"x\n" * 1_000] * 10)
    responding = start(client, log)

    async def two() -> bool:
        return log.waiting == 2

    await until(two, "two windows in flight")
    responding.cancel()
    await asyncio.gather(responding, return_exceptions=True)
    assert asyncio.all_tasks() == before
