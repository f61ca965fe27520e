"""A Kafka client whose start or stop is cancelled leaves no connection open."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection

from deploy.local.parts import KafkaPart
from schemas.topics import DETAINER_ISSUED
from services.runtime.kafka import start, stop, stop_producer
from tests.support import clusters, kafka_log
from tests.support.clusters import BROKERS, Cluster
from tests.support.proxies import Proxy, carrying
from tests.support.waiting import until


class ResponsesHeld(Proxy):
    """Forwards the first `responses` responses; later ones wait until `open`."""

    def __init__(self, responses: int) -> None:
        self._left = responses
        self.waiting = asyncio.Event()
        self.open = asyncio.Event()

    async def _lets(self, data: bytes, committing: asyncio.Event) -> bool:
        self._left -= 1
        if self._left < 0:
            self.waiting.set()
            await self.open.wait()
        return True


def _still_open(port: int) -> list[AIOKafkaConnection]:
    """The connections of this test's client, identified by its client id."""
    found = [one for one in gc.get_objects() if isinstance(one, AIOKafkaConnection) and one.connected()]
    return [one for one in found if one._client_id == _name(port)]


def _name(port: int) -> str:
    return f"given-up-{port}"


def _consumer(port: int) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", client_id=_name(port), request_timeout_ms=600_000)


def _port(part: KafkaPart) -> int:
    return int(part.bootstrap.rpartition(":")[2])


async def test_a_start_cancelled_during_the_metadata_request_leaves_no_connection(kafka: KafkaPart) -> None:
    held = ResponsesHeld(1)
    async with carrying(held, "127.0.0.1", _port(kafka)) as port:
        consumer = _consumer(port)
        starting = asyncio.create_task(start(consumer.start))
        await held.waiting.wait()
        assert _still_open(port)
        starting.cancel()
        await asyncio.sleep(0)
        held.open.set()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await stop(consumer)
        assert not _still_open(port)


async def test_a_cancelled_start_is_abandoned_after_two_seconds(kafka: KafkaPart) -> None:
    held = ResponsesHeld(0)
    async with carrying(held, "127.0.0.1", _port(kafka)) as port:
        consumer = _consumer(port)
        starting = asyncio.create_task(start(consumer.start))
        await held.waiting.wait()
        starting.cancel()
        await asyncio.wait([starting], timeout=60)
        assert starting.cancelled(), "did not wait for a response that never arrives"
        await stop(consumer)
        assert not _still_open(port)
        held.open.set()


async def test_an_abandoned_stop_closes_its_connections_first(
    kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _port(kafka)
    consumer = _consumer(port)
    await start(consumer.start)
    await consumer.topics()
    assert _still_open(port)
    waiting = asyncio.Event()
    assert consumer._fetcher is not None
    fetcher_ends = consumer._fetcher.close

    async def never() -> None:
        waiting.set()
        await fetcher_ends()
        await asyncio.Event().wait()

    monkeypatch.setattr(consumer._fetcher, "close", never)
    stopping = asyncio.create_task(stop(consumer))
    await waiting.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not _still_open(port)


_PATIENT = 600_000
"""Milliseconds. Longer than any test, so that a request without a response does not time out."""
_PARTITIONS = [one for one in kafka_log.EVENT_PARTITIONS if one.topic == DETAINER_ISSUED]


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Each partition is on one of three brokers, so that a producer has several requests in flight."""
    async with clusters.started(tmp_path_factory.mktemp("cluster"), copies=1) as built:
        yield built


@pytest.fixture
async def producer(cluster: Cluster, others: set[asyncio.Task[Any]]) -> AsyncIterator[AIOKafkaProducer]:
    """A producer with a request in flight to each broker; no broker responds."""
    one = _producer(cluster.bootstrap)
    try:
        await start(one.start)
        await _to_all_partitions(one)
        await one.flush()
        for broker in cluster.brokers.values():
            broker.pause()
        await _to_all_partitions(one)

        async def in_flight() -> bool:
            return one._sender._in_flight == set(BROKERS)

        await until(in_flight, "a request in flight to each broker")
        yield one
    finally:
        for broker in cluster.brokers.values():
            broker.resume()


def _producer(bootstrap: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap, client_id=_name(0), request_timeout_ms=_PATIENT, enable_idempotence=True
    )


async def _to_all_partitions(producer: AIOKafkaProducer) -> list[asyncio.Future[Any]]:
    return [await producer.send(one.topic, b"{}", partition=one.number) for one in _PARTITIONS]


def _tasks() -> set[asyncio.Task[Any]]:
    """The running tasks of aiokafka."""
    return {one for one in asyncio.all_tasks() if "/aiokafka/" in one.get_coro().cr_code.co_filename}  # type: ignore[union-attr]


@pytest.fixture
async def others() -> set[asyncio.Task[Any]]:
    """Tasks of aiokafka that existed before the test: other tests may have open clients."""
    return _tasks()


async def _nothing_is_left(others: set[asyncio.Task[Any]]) -> None:
    """Wait until the producer has no open connection and no running task."""

    async def nothing() -> bool:
        return not _tasks() - others and not _still_open(0)

    await until(nothing, "no connection and no task left", 20)


@pytest.mark.real_kafka("is one broker")
async def test_an_abandoned_producer_leaves_no_connection_and_no_task(
    producer: AIOKafkaProducer, others: set[asyncio.Task[Any]]
) -> None:
    stopping = asyncio.create_task(stop_producer(producer, 0.1))
    await asyncio.wait([stopping], timeout=60)
    assert stopping.done(), "did not wait for a response that never arrives"
    assert stopping.result() is False, "the result shows that not all records were sent"
    assert producer._sender.sender_task.done(), "nothing is sent afterwards"
    await _nothing_is_left(others)


@pytest.mark.real_kafka("is one broker")
async def test_a_producer_whose_stop_is_cancelled_leaves_no_connection_and_no_task(
    producer: AIOKafkaProducer, others: set[asyncio.Task[Any]]
) -> None:
    stopping = asyncio.create_task(stop_producer(producer, _PATIENT))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping], timeout=60)
    assert stopping.cancelled(), "did not wait for a response that never arrives"
    assert producer._sender.sender_task.done(), "nothing is sent afterwards"
    await _nothing_is_left(others)


async def test_a_producer_that_stops_in_time_has_sent_all_records(
    kafka: KafkaPart, others: set[asyncio.Task[Any]]
) -> None:
    producer = _producer(kafka.bootstrap)
    await start(producer.start)
    sent = await _to_all_partitions(producer)
    assert await stop_producer(producer, 60) is True
    assert all(one.done() and one.exception() is None for one in sent)
    await _nothing_is_left(others)
