"""Ingest while Kafka is away: it says so, stores or says that it did not, and recovers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from tests.support import events, kafka_log, processes
from tests.support.processes import BATCH, DRAIN_SECONDS, post
from tests.support.waiting import until


@pytest.fixture
def ingest(own_ingest: Service) -> Service:
    return own_ingest


def _value(number: int) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(number)))


def _batch(number: int, size: int = 50) -> bytes:
    return processes.batch([_value(number * size + index) for index in range(size)])


async def test_it_starts_without_kafka_says_so_and_recovers(
    ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart
) -> None:
    own_kafka.stop()
    processes.start_unready(ingest)
    assert (await http.get("/livez")).status_code == 200
    waiting = await http.get("/readyz")
    assert waiting.status_code == 503
    assert waiting.json()["code"] == "not-ready"
    assert "Kafka" in waiting.json()["detail"]
    for body, content_type in ((_value(1), processes.SINGLE), (_batch(1), BATCH)):
        refused = await post(http, body, content_type)
        assert (refused.status_code, refused.json()["code"]) == (503, "kafka-unavailable")
        assert int(refused.headers["retry-after"]) > 0
    own_kafka.start()
    await until(_ready(http), "ready once Kafka is there")
    assert (await post(http, _value(1))).status_code == 202


@pytest.mark.real_kafka("loses acknowledged records when it is ended while clients write")
async def test_a_stopped_kafka_is_an_outage_and_no_loss(
    ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart
) -> None:
    await _outage(ingest, http, own_kafka, own_kafka.stop, own_kafka.start)


async def test_a_paused_kafka_is_an_outage_and_no_loss(
    ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart
) -> None:
    """Connections stay open and nothing is answered: only ingest's own deadline ends the wait."""
    await _outage(ingest, http, own_kafka, own_kafka.pause, own_kafka.resume)


@pytest.mark.real_kafka("loses acknowledged records on kill -9")
async def test_a_killed_kafka_loses_nothing_that_was_acknowledged(
    ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart
) -> None:
    await _outage(ingest, http, own_kafka, own_kafka.kill, own_kafka.start)


async def _outage(
    ingest: Service, http: httpx.AsyncClient, kafka: KafkaPart, begin: Callable[[], None], end: Callable[[], None]
) -> None:
    ingest.start()
    acknowledged: dict[tuple[str, int, int], bytes] = {}
    away = asyncio.Event()
    recovered = asyncio.Event()

    async def stream() -> None:
        """As an agency does: a batch again and again until all of it is stored."""
        for number in range(400):
            waited = False
            while not _note(acknowledged, await post(http, _batch(number), BATCH), number):
                waited = True
                away.set()
                await asyncio.sleep(0.1)
            if waited:
                recovered.set()
            if recovered.is_set() and number >= 20:
                return

    streaming = asyncio.create_task(stream())
    await until(_more_than(acknowledged, 500), "events acknowledged before the outage")
    await asyncio.to_thread(begin)
    try:
        await asyncio.wait_for(away.wait(), 90)
        await until(_not_ready(http), "/readyz 503")
        assert (await http.get("/livez")).status_code == 200
        late = await post(http, _value(100_000))
        assert late.status_code == 503
        assert int(late.headers["retry-after"]) > 0
    finally:
        await asyncio.to_thread(end)
    await asyncio.wait_for(streaming, 120)
    assert recovered.is_set()
    await until(_ready(http), "ready again by itself")
    there = {
        (topic, partition, record.offset): record.value
        for topic, partition in kafka_log.EVENT_PARTITIONS
        for record in await kafka_log.read(kafka.bootstrap, topic, partition)
    }
    assert acknowledged.items() <= there.items(), "every acknowledged place holds the same bytes"


def _note(acknowledged: dict[tuple[str, int, int], bytes], response: httpx.Response, number: int) -> bool:
    """Remember what was acknowledged; answers whether all of the batch was."""
    if response.status_code == 503:
        assert int(response.headers["retry-after"]) > 0
        return False
    answer: dict[str, Any] = response.json()
    for receipt in answer["receipts"]:
        if receipt["status"] == "accepted":
            place = (receipt["topic"], receipt["partition"], receipt["offset"])
            acknowledged[place] = _value(number * 50 + receipt["line"] - 1)
        else:
            assert (receipt["status"], receipt["retryable"]) == ("unavailable", True)
    if response.status_code == 207:
        assert int(response.headers["retry-after"]) > 0
    return response.status_code == 200


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "stopped"])
async def test_sigterm_ends_it_while_kafka_is_away(
    ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart, paused: bool
) -> None:
    """With a request under way, which is answered before the end."""
    ingest.start()
    assert (await post(http, _value(1))).status_code == 202
    await asyncio.to_thread(own_kafka.pause if paused else own_kafka.stop)
    sent = asyncio.Event()

    async def trace(event: str, _: object) -> None:
        if event == "http11.send_request_body.complete":
            sent.set()

    request = http.build_request("POST", "/v1/events", content=_batch(1), headers={"Content-Type": BATCH})
    request.extensions["trace"] = trace
    hanging = asyncio.create_task(http.send(request))
    await asyncio.wait_for(sent.wait(), 60)
    assert await asyncio.to_thread(ingest.stop, DRAIN_SECONDS), "it ended by itself"
    answer = await hanging
    assert answer.status_code in (207, 503)


async def test_sigterm_finishes_what_was_read_and_loses_nothing_acknowledged(
    ingest: Service, own_kafka: KafkaPart
) -> None:
    ingest.start()
    acknowledged: dict[tuple[str, int, int], bytes] = {}

    async def stream(first: int) -> None:
        async with processes.client(ingest) as mine:
            for number in range(first, first + 1_000):
                try:
                    _note(acknowledged, await post(mine, _batch(number), BATCH), number)
                except httpx.TransportError:
                    return

    streams = [asyncio.create_task(stream(first)) for first in (1_000, 2_000, 3_000)]
    await until(_more_than(acknowledged, 1_000), "events acknowledged")
    assert await asyncio.to_thread(ingest.stop, DRAIN_SECONDS), "it ended by itself"
    await asyncio.gather(*streams)
    there = {
        (topic, partition, record.offset): record.value
        for topic, partition in kafka_log.EVENT_PARTITIONS
        for record in await kafka_log.read(own_kafka.bootstrap, topic, partition)
    }
    assert acknowledged.items() <= there.items()


def _ready(http: httpx.AsyncClient) -> Callable[[], Any]:
    async def ask() -> bool:
        return (await http.get("/readyz")).status_code == 200

    return ask


def _not_ready(http: httpx.AsyncClient) -> Callable[[], Any]:
    async def ask() -> bool:
        return (await http.get("/readyz")).status_code == 503

    return ask


def _more_than(acknowledged: dict[Any, Any], least: int) -> Callable[[], Any]:
    async def ask() -> bool:
        return len(acknowledged) > least

    return ask
