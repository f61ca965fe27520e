"""services.ingest.kafka.producer: a producer with a failed batch is replaced while other partitions are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
    TopicAuthorizationFailedError,
    UnknownError,
)

from services.ingest.intake import Accepted
from services.ingest.kafka import producer as producing
from services.ingest.kafka.producer import EventProducer
from tests.support.sessions import turns
from tests.support.waiting import until
from tests.unit.sample_producer import Kafka, assert_true, event, in_place_of_aiokafkas, running, waiting

ON_ALL = [event(line, partition=line % 3) for line in range(9)]
BUT_ONE = ["accepted", "unavailable", "accepted"] * 3


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    return in_place_of_aiokafkas(monkeypatch)


@pytest.fixture
async def producer(kafka: Kafka) -> AsyncIterator[EventProducer]:
    async with running() as one:
        yield one


async def statuses(producer: EventProducer, events: list[Accepted]) -> list[str]:
    return [one.status for one in await producer.store(events)]


def all_stored(producer: EventProducer) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return set(await statuses(producer, ON_ALL)) == {"accepted"}

    return ask


def at_work(kafka: Kafka, *numbers: int) -> Callable[[], Awaitable[bool]]:
    """Whether exactly these producers are not stopped."""

    async def ask() -> bool:
        return kafka.at_work == [kafka.producers[number] for number in numbers if number < len(kafka.producers)]

    return ask


@pytest.mark.parametrize(
    "error",
    [
        LeaderNotAvailableError(),
        NotLeaderForPartitionError(),
        OutOfOrderSequenceNumber(),
        TopicAuthorizationFailedError("detainer-issued"),
        UnknownError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failed_batch_replaces_the_producer(producer: EventProducer, kafka: Kafka, error: Exception) -> None:
    """The partition's sequence then has a gap, so only a new producer can write to it."""
    kafka.refusals[1] = error
    assert await statuses(producer, ON_ALL) == BUT_ONE
    kafka.refusals.clear()
    await until(all_stored(producer), "events stored in all partitions", 20)
    await until(at_work(kafka, 1), "the first producer stopped", 20)
    events = [event(line, partition=1) for line in range(20)]
    assert_true(kafka, events, await producer.store(events))


async def test_requests_queued_after_a_failed_batch_fail_at_once(
    producer: EventProducer, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "DEADLINE_SECONDS", 60)
    kafka.refusals[1] = NotLeaderForPartitionError()
    kafka.holds[1] = asyncio.Event()
    first = asyncio.create_task(producer.store([event(1, partition=1)]))
    await turns()
    kafka.away.clear()
    later = [asyncio.create_task(producer.store([event(line, partition=1)])) for line in (2, 3)]
    await until(lambda: waiting(kafka), "a batch waiting to be sent")
    kafka.holds[1].set()
    async with asyncio.timeout(30):
        receipts = await asyncio.gather(first, *later)
    assert [one.status for [one] in receipts] == ["unavailable"] * 3
    kafka.away.set()


async def test_the_failed_producer_settles_batches_of_other_partitions(
    producer: EventProducer, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "DEADLINE_SECONDS", 60)
    kafka.refusals[1] = NotLeaderForPartitionError()
    kafka.holds[0] = asyncio.Event()
    events = [event(line, size=90) for line in range(50)]
    storing = asyncio.create_task(producer.store(events))
    await turns()
    assert await statuses(producer, [event(1, partition=1)]) == ["unavailable"]
    await until(lambda: _made(kafka, 2), "a second producer", 20)
    await turns()
    assert not kafka.producers[0].stopped
    kafka.holds[0].set()
    receipts = await storing
    assert {one.status for one in receipts} == {"accepted"}
    assert_true(kafka, events, receipts)
    await until(at_work(kafka, 1), "the first producer stopped", 20)


async def test_other_partitions_are_served_while_no_new_producer_starts(
    producer: EventProducer, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "_RENEW_EVERY", 0.05)
    kafka.refusals[1] = NotLeaderForPartitionError()
    kafka.no_start = KafkaConnectionError()
    assert await statuses(producer, ON_ALL) == BUT_ONE
    kafka.refusals.clear()
    await until(lambda: _made(kafka, 4), "several attempts", 20)
    assert await statuses(producer, ON_ALL) == BUT_ONE
    kafka.no_start = ValueError("a defect, which is logged")
    before = len(kafka.producers)
    await until(lambda: _made(kafka, before + 2), "more attempts", 20)
    kafka.no_start = None
    await until(all_stored(producer), "events stored in all partitions", 20)
    await until(at_work(kafka, len(kafka.producers) - 1), "all other producers stopped", 20)


async def test_repeated_failures_do_not_replace_the_producer_each_time(
    producer: EventProducer, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "_RENEW_EVERY", 600)
    kafka.refusals[1] = NotLeaderForPartitionError()
    assert await statuses(producer, ON_ALL) == BUT_ONE
    await until(at_work(kafka, 1), "the second producer", 20)
    for _ in range(20):
        assert await statuses(producer, ON_ALL) == BUT_ONE
    assert len(kafka.producers) == 2


@pytest.mark.parametrize("error", [KafkaError("a bug of aiokafka"), None], ids=["failed", "ended"])
async def test_a_producer_without_sender_task_is_replaced(
    producer: EventProducer, kafka: Kafka, error: KafkaError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "DEADLINE_SECONDS", 60)
    kafka.holds = {number: asyncio.Event() for number in range(3)}
    storing = asyncio.create_task(producer.store(ON_ALL))
    await turns()
    [one] = kafka.producers
    if error is None:
        one.dies.set_result(None)
    else:
        one.dies.set_exception(error)
    async with asyncio.timeout(30):
        assert {one.status for one in await storing} == {"unavailable"}, "without waiting for the deadline"
    kafka.holds.clear()
    await until(all_stored(producer), "events stored in all partitions", 20)


@pytest.mark.parametrize("partition", [0, 1], ids=["known", "new"])
async def test_events_fail_at_once_if_no_producer_can_send(
    producer: EventProducer, kafka: Kafka, partition: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "DEADLINE_SECONDS", 60)
    assert await statuses(producer, [event(1, partition=0)]) == ["accepted"]
    kafka.no_start = KafkaConnectionError()
    kafka.away.clear()
    kafka.producers[0].dies.set_result(None)
    await turns()
    async with asyncio.timeout(30):
        assert await statuses(producer, [event(2, partition=partition)]) == ["unavailable"]
    kafka.away.set()


async def test_stopping_during_a_replacement_stops_both_producers(
    producer: EventProducer, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "DEADLINE_SECONDS", 60)
    kafka.refusals[1] = NotLeaderForPartitionError()
    kafka.holds[0] = asyncio.Event()
    storing = asyncio.create_task(producer.store([event(1)]))
    await turns()
    assert await statuses(producer, [event(1, partition=1)]) == ["unavailable"]
    await until(lambda: _made(kafka, 2), "a second producer", 20)
    async with asyncio.timeout(30):
        await producer.stop(0)
        assert (await storing)[0].status == "unavailable"
    assert kafka.at_work == []


async def _made(kafka: Kafka, count: int) -> bool:
    return len(kafka.producers) >= count
