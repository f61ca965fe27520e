"""A client of Kafka that is given up in the middle of its start or of its end leaves no connection open."""

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


class AnswersHeld(Proxy):
    """Lets `answers` through; the next and all behind it wait until `open`."""

    def __init__(self, answers: int) -> None:
        self._left = answers
        self.waiting = asyncio.Event()
        self.open = asyncio.Event()

    async def _lets(self, data: bytes, committing: asyncio.Event) -> bool:
        self._left -= 1
        if self._left < 0:
            self.waiting.set()
            await self.open.wait()
        return True


def _still_open(port: int) -> list[AIOKafkaConnection]:
    """The connections of this test's client, told from those of others by its name."""
    found = [one for one in gc.get_objects() if isinstance(one, AIOKafkaConnection) and one.connected()]
    return [one for one in found if one._client_id == _name(port)]


def _name(port: int) -> str:
    return f"given-up-{port}"


def _consumer(port: int) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", client_id=_name(port), request_timeout_ms=600_000)


def _port(part: KafkaPart) -> int:
    return int(part.bootstrap.rpartition(":")[2])


async def test_cancelled_while_it_asks_for_the_brokers(kafka: KafkaPart) -> None:
    held = AnswersHeld(1)
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


async def test_who_does_not_start_within_two_seconds_after_that_is_given_up(kafka: KafkaPart) -> None:
    held = AnswersHeld(0)
    async with carrying(held, "127.0.0.1", _port(kafka)) as port:
        consumer = _consumer(port)
        starting = asyncio.create_task(start(consumer.start))
        await held.waiting.wait()
        starting.cancel()
        await asyncio.wait([starting], timeout=60)
        assert starting.cancelled(), "it did not wait for an answer, which nobody gives"
        await stop(consumer)
        assert not _still_open(port)
        held.open.set()


async def test_an_end_that_is_given_up_closes_its_connections_first(
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
"""A request that nobody answers in a test ends by no time-out of its own."""
_PARTITIONS = [one for one in kafka_log.EVENT_PARTITIONS if one[0] == DETAINER_ISSUED]


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Each partition on one of three brokers, so that a producer has several requests on their way."""
    async with clusters.started(tmp_path_factory.mktemp("cluster"), copies=1) as built:
        yield built


@pytest.fixture
async def producer(cluster: Cluster) -> AsyncIterator[AIOKafkaProducer]:
    """With a request on its way to each broker, none of which answers."""
    one = _producer(cluster.bootstrap)
    try:
        await start(one.start)
        await _to_all_partitions(one)
        await one.flush()
        for broker in cluster.brokers.values():
            broker.pause()
        await _to_all_partitions(one)

        async def on_their_way() -> bool:
            return one._sender._in_flight == set(BROKERS)

        await until(on_their_way, "a request on its way to each broker")
        yield one
    finally:
        for broker in cluster.brokers.values():
            broker.resume()


def _producer(bootstrap: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap, client_id=_name(0), request_timeout_ms=_PATIENT, enable_idempotence=True
    )


async def _to_all_partitions(producer: AIOKafkaProducer) -> list[asyncio.Future[Any]]:
    return [await producer.send(topic, b"{}", partition=number) for topic, number in _PARTITIONS]


async def _nothing_is_left() -> bool:
    """No connection of the producer is open, and no task of aiokafka is at work."""
    tasks = [task for task in asyncio.all_tasks() if "/aiokafka/" in task.get_coro().cr_code.co_filename]  # type: ignore[union-attr]
    return not tasks and not _still_open(0)


@pytest.mark.real_kafka("is one broker")
async def test_a_producer_that_is_given_up_leaves_no_connection_and_no_task(producer: AIOKafkaProducer) -> None:
    stopping = asyncio.create_task(stop_producer(producer, 0.1))
    await asyncio.wait([stopping], timeout=60)
    assert stopping.done(), "it did not wait for an answer, which nobody gives"
    assert stopping.result() is False, "it says that not all has arrived"
    assert producer._sender.sender_task.done(), "nothing is sent behind our back"
    await until(_nothing_is_left, "nothing is left", 20)


@pytest.mark.real_kafka("is one broker")
async def test_a_producer_whose_end_is_cancelled_leaves_no_connection_and_no_task(producer: AIOKafkaProducer) -> None:
    stopping = asyncio.create_task(stop_producer(producer, _PATIENT))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping], timeout=60)
    assert stopping.cancelled(), "it did not wait for an answer, which nobody gives"
    assert producer._sender.sender_task.done(), "nothing is sent behind our back"
    await until(_nothing_is_left, "nothing is left", 20)


async def test_a_producer_that_ends_in_time_has_sent_all(kafka: KafkaPart) -> None:
    producer = _producer(kafka.bootstrap)
    await start(producer.start)
    sent = await _to_all_partitions(producer)
    assert await stop_producer(producer, 60) is True
    assert all(one.done() and one.exception() is None for one in sent)
    await until(_nothing_is_left, "nothing is left", 20)
