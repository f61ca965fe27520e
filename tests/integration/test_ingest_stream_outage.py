"""Streams during a Kafka outage and a SIGTERM: each event with the status `accepted` is in Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from schemas.log import RecordAddress
from tests.support import kafka_log, processes, streams
from tests.support.processes import BATCH, DRAIN_SECONDS, post
from tests.support.streams import Stream
from tests.support.waiting import until

KILLED = pytest.param("killed", marks=pytest.mark.real_kafka("loses acknowledged records on kill -9"))


@pytest.fixture
def ingest(own_ingest: Service) -> Service:
    """The ingest of one test, started and ready."""
    own_ingest.start()
    return own_ingest


class Sending:
    """A stream that is sent and read at the same time, until it is ended or cut off."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.accepted: dict[RecordAddress, bytes] = {}
        self.lines: list[dict[str, Any]] = []
        self.enough = asyncio.Event()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._read())]

    async def _send(self) -> None:
        try:
            for first in count(0, 100):
                if self.enough.is_set():
                    await self.stream.end()
                    return
                await self.stream.send(streams.lines(range(first, first + 100)))
                await asyncio.sleep(0.005)
        except ConnectionError:
            return

    async def _read(self) -> None:
        assert await self.stream.status() == 207
        async for line in self.stream.lines():
            self.lines.append(line)
            if line.get("status") == "accepted":
                self.accepted[streams.address_of(line)] = streams.value(line["line"] - 1)
        self.enough.set()

    async def more_than(self, least: int) -> bool:
        return len(self.accepted) > least

    async def ended(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self._tasks), 60)
        await self.stream.close()


async def begin(ingest: Service) -> Sending:
    sending = Sending(await Stream.open(ingest))
    await until(lambda: sending.more_than(2_000), "lines accepted")
    return sending


async def assert_in_the_log(kafka: KafkaPart, accepted: dict[RecordAddress, bytes]) -> None:
    there = await streams.log_since(kafka.bootstrap, dict.fromkeys(kafka_log.EVENT_PARTITIONS, 0))
    assert {address: there[address].value for address in accepted if address in there} == accepted


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(
            "stopped",
            marks=[
                pytest.mark.real_kafka("loses acknowledged records when stopped while clients write"),
                pytest.mark.long("another kind of outage"),
            ],
        ),
        pytest.param("paused", marks=pytest.mark.long("another kind of outage")),
        KILLED,
    ],
)
async def test_a_stream_survives_a_kafka_outage_and_reports_unstored_events(
    ingest: Service, own_kafka: KafkaPart, how: str
) -> None:
    sending = await begin(ingest)
    begin_outage = {"stopped": own_kafka.stop, "paused": own_kafka.pause, "killed": own_kafka.kill}[how]
    await asyncio.to_thread(begin_outage)

    async def reported() -> bool:
        return any(line.get("status") == "unavailable" for line in sending.lines)

    await until(reported, "a line with the status unavailable")
    before = len(sending.accepted)
    await asyncio.to_thread(own_kafka.resume if how == "paused" else own_kafka.start)
    await until(lambda: sending.more_than(before + 1_000), "lines accepted again")
    sending.enough.set()
    await sending.ended()
    *receipts, last = sending.lines
    assert [receipt["line"] for receipt in receipts] == list(range(1, len(receipts) + 1))
    for receipt in receipts:
        if receipt["status"] != "accepted":
            assert (receipt["status"], receipt["code"], receipt["retryable"]) == (
                "unavailable",
                "not-acknowledged",
                True,
            )
    unavailable = len(receipts) - len(sending.accepted)
    assert last["summary"] == {
        "lines": len(receipts),
        "accepted": len(sending.accepted),
        "rejected": 0,
        "unavailable": unavailable,
    }
    assert unavailable
    await assert_in_the_log(own_kafka, sending.accepted)


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
async def test_sigterm_ends_a_stream_after_the_lines_that_were_read(
    ingest: Service, own_kafka: KafkaPart, paused: bool
) -> None:
    sending = await begin(ingest)
    if paused:
        await asyncio.to_thread(own_kafka.pause)
    assert await asyncio.to_thread(ingest.stop, DRAIN_SECONDS), "exited before the timeout"
    await sending.ended()
    assert sending.stream.complete, "the response is complete"
    assert all("summary" not in line for line in sending.lines), "no summary: the stream was interrupted"
    assert [line["line"] for line in sending.lines] == list(range(1, len(sending.lines) + 1))
    if paused:
        await asyncio.to_thread(own_kafka.resume)
    else:
        assert len(sending.accepted) == len(sending.lines)
    await assert_in_the_log(own_kafka, sending.accepted)


@pytest.mark.parametrize(
    "how", [pytest.param("stopped", marks=pytest.mark.long("another kind of outage")), "paused", KILLED]
)
async def test_without_kafka_it_responds_with_503_within_three_seconds(
    http: httpx.AsyncClient, own_kafka: KafkaPart, how: str
) -> None:
    assert (await post(http, streams.value(1))).status_code == 202
    begin_outage: Callable[[], None] = {
        "stopped": own_kafka.stop,
        "paused": own_kafka.pause,
        "killed": own_kafka.kill,
    }[how]
    await asyncio.to_thread(begin_outage)
    body = processes.batch([streams.value(number) for number in range(50)])
    for _ in range(20):
        began = time.monotonic()
        one = await post(http, streams.value(2))
        waited = time.monotonic() - began
        assert one.status_code == 503
        assert int(one.headers["retry-after"]) > 0
        assert waited < 3
        many = await post(http, body, BATCH)
        assert many.status_code in (207, 503)
        assert int(many.headers["retry-after"]) > 0
        if many.status_code == 207:
            assert many.json()["summary"]["accepted"] == 0
        await asyncio.sleep(0.1)
    assert (one.json()["code"], many.json()["code"]) == ("kafka-unavailable", "kafka-unavailable")
    await asyncio.to_thread(own_kafka.resume if how == "paused" else own_kafka.start)

    async def stored() -> bool:
        return (await post(http, streams.value(3))).status_code == 202

    await until(stored, "events stored once Kafka runs")
