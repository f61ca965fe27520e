"""Ingest without Kafka: it reports the outage, loses no acknowledged event and recovers."""

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


async def test_it_starts_without_kafka_and_recovers(
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
    await until(_ready(http), "ready once Kafka runs")
    assert (await post(http, _value(1))).status_code == 202


@pytest.mark.real_kafka("loses acknowledged records when stopped while clients write")
async def test_a_stopped_kafka_loses_nothing(ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart) -> None:
    await _outage(ingest, http, own_kafka, own_kafka.stop, own_kafka.start)


async def test_a_paused_kafka_loses_nothing(ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart) -> None:
    """Connections stay open without a response. Only ingest's own deadline ends the wait."""
    await _outage(ingest, http, own_kafka, own_kafka.pause, own_kafka.resume)


@pytest.mark.real_kafka("loses acknowledged records on kill -9")
async def test_a_killed_kafka_loses_no_acknowledged_event(
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
        """Send each batch again until all of it is stored, as an agency does."""
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
    await until(_ready(http), "ready again without a restart")
    there = {
        (one.topic, one.number, record.offset): record.value
        for one in kafka_log.EVENT_PARTITIONS
        for record in await kafka_log.read(kafka.bootstrap, one.topic, one.number)
    }
    assert acknowledged.items() <= there.items(), "every acknowledged record has the same bytes"


def _note(acknowledged: dict[tuple[str, int, int], bytes], response: httpx.Response, number: int) -> bool:
    """Record the acknowledged events; returns whether all of the batch were."""
    if response.status_code == 503:
        assert int(response.headers["retry-after"]) > 0
        return False
    body: dict[str, Any] = response.json()
    for receipt in body["receipts"]:
        if receipt["status"] == "accepted":
            address = (receipt["topic"], receipt["partition"], receipt["offset"])
            acknowledged[address] = _value(number * 50 + receipt["line"] - 1)
        else:
            assert (receipt["status"], receipt["retryable"]) == ("unavailable", True)
    if response.status_code == 207:
        assert int(response.headers["retry-after"]) > 0
    return response.status_code == 200


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "stopped"])
async def test_sigterm_stops_it_while_kafka_is_unavailable(
    ingest: Service, http: httpx.AsyncClient, own_kafka: KafkaPart, paused: bool
) -> None:
    """An open request gets its response first."""
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
    assert await asyncio.to_thread(ingest.stop, DRAIN_SECONDS), "exited before the timeout"
    response = await hanging
    assert response.status_code in (207, 503)


async def test_sigterm_completes_requests_and_loses_no_acknowledged_event(
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
    assert await asyncio.to_thread(ingest.stop, DRAIN_SECONDS), "exited before the timeout"
    await asyncio.gather(*streams)
    there = {
        (one.topic, one.number, record.offset): record.value
        for one in kafka_log.EVENT_PARTITIONS
        for record in await kafka_log.read(own_kafka.bootstrap, one.topic, one.number)
    }
    assert acknowledged.items() <= there.items()


def _ready(http: httpx.AsyncClient) -> Callable[[], Any]:
    async def check() -> bool:
        return (await http.get("/readyz")).status_code == 200

    return check


def _not_ready(http: httpx.AsyncClient) -> Callable[[], Any]:
    async def check() -> bool:
        return (await http.get("/readyz")).status_code == 503

    return check


def _more_than(acknowledged: dict[Any, Any], least: int) -> Callable[[], Any]:
    async def check() -> bool:
        return len(acknowledged) > least

    return check
