"""services.ingest.kafka: which events are `accepted`, and how requests share a batch, with a fake Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka.errors import NotLeaderForPartitionError

from schemas.acceptance import MAX_EVENT_BYTES
from services.ingest.intake import Rejected
from services.ingest.kafka import producer as producing
from services.ingest.kafka.producer import EventProducer
from services.ingest.receipts import Receipt
from services.runtime.errors import InvariantError
from tests.support.sessions import turns
from tests.support.waiting import until
from tests.unit.sample_producer import (
    BATCH_BYTES,
    Batch,
    Kafka,
    assert_true,
    event,
    in_place_of_aiokafkas,
    running,
    waiting,
)


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    return in_place_of_aiokafkas(monkeypatch)


@pytest.fixture
async def producer(kafka: Kafka) -> AsyncIterator[EventProducer]:
    async with running() as one:
        yield one


async def test_each_event_has_a_receipt_in_order(producer: EventProducer, kafka: Kafka) -> None:
    events = [event(line, partition=line % 3, size=line % 50) for line in range(1, 500)]
    receipts = await producer.store(events)
    assert_true(kafka, events, receipts)
    assert {receipt.status for receipt in receipts} == {"accepted"}
    assert max(kafka.batches) > 1


async def test_receipts_of_rejected_events_stay_in_order(producer: EventProducer) -> None:
    refused = Rejected(Receipt(2, "rejected", False), None)
    receipts = await producer.store([event(1), refused, event(3)])
    assert [one.status for one in receipts] == ["accepted", "rejected", "accepted"]
    assert receipts[1] is refused.receipt
    assert await producer.store([refused]) == [refused.receipt]
    assert await producer.store([]) == []


async def test_events_of_many_requests_share_a_batch(producer: EventProducer, kafka: Kafka) -> None:
    """While one batch waits to be sent, the next collects all other requests."""
    kafka.away.clear()
    storing = [asyncio.create_task(producer.store([event(1, size=number % 7)])) for number in range(100)]
    await until(lambda: waiting(kafka), "a batch waiting to be sent")
    await turns()
    assert kafka.waiting == 1, "all others are queued"
    kafka.away.set()
    stored = await asyncio.gather(*storing)
    assert {receipts[0].status for receipts in stored} == {"accepted"}
    assert len({receipts[0].offset for receipts in stored}) == 100
    assert len(kafka.batches) <= 4


async def test_a_large_request_is_sent_in_several_batches(producer: EventProducer, kafka: Kafka) -> None:
    many = [[event(line, size=90) for line in range(1, 40)] for _ in range(5)]
    stored = await asyncio.gather(*(producer.store(events) for events in many))
    for events, receipts in zip(many, stored, strict=True):
        assert_true(kafka, events, receipts)
        offsets = [receipt.offset for receipt in receipts if receipt.offset is not None]
        assert offsets == sorted(offsets)
        assert len(offsets) == 39
    assert len(kafka.log[0]) == 5 * 39


async def test_a_timeout_is_unavailable_and_unsent_events_are_dropped(producer: EventProducer, kafka: Kafka) -> None:
    kafka.away.clear()
    first = asyncio.create_task(producer.store([event(1)]))
    await until(lambda: waiting(kafka), "a batch waiting to be sent")
    async with asyncio.timeout(60):
        second = await producer.store([event(2)])
    assert [one.status for one in (*await first, *second)] == ["unavailable"] * 2
    assert second[0].retryable
    kafka.away.set()
    third = await producer.store([event(3)])
    assert third[0].status == "accepted"
    assert kafka.log[0] == [event(1).value, event(3).value], "the first may be stored later, the second never"


async def test_a_failing_partition_does_not_affect_others(producer: EventProducer, kafka: Kafka) -> None:
    kafka.errors[1] = NotLeaderForPartitionError()
    events = [event(line, partition=line % 3) for line in range(9)]
    receipts = await producer.store(events)
    assert [one.status for one in receipts] == ["accepted", "unavailable", "accepted"] * 3
    kafka.errors.clear()
    assert {one.status for one in await producer.store(events)} == {"accepted"}


async def test_an_error_other_than_kafkas_is_raised(producer: EventProducer, kafka: Kafka) -> None:
    kafka.errors[0] = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        await producer.store([event(1)])


async def test_an_event_that_fits_no_batch_does_not_stop_its_queue(
    producer: EventProducer, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Batch, "append", _bounded(Batch.append))
    with pytest.raises(InvariantError, match="line 2 does not fit an empty batch"):
        await producer.store([event(1), event(2, size=BATCH_BYTES)])
    assert (await producer.store([event(3)]))[0].status == "accepted"
    assert kafka.log[0] == [event(1).value, event(3).value]


def _bounded(append: Callable[..., object]) -> Callable[..., object]:
    """Like `append`, but with the limit for the first event too. aiokafka closes a batch that refuses an event."""
    full: set[int] = set()

    def bounded(batch: Batch, *, value: bytes, **rest: object) -> object:
        if id(batch) in full or len(value) > BATCH_BYTES:
            full.add(id(batch))
            return None
        return append(batch, value=value, **rest)

    return bounded


def test_the_largest_event_fits_an_empty_batch() -> None:
    headers = 1_024
    assert MAX_EVENT_BYTES + headers < producing.BATCH_BYTES


async def test_closing_fails_pending_requests_at_once(
    producer: EventProducer, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "DEADLINE_SECONDS", 60)
    kafka.away.clear()
    storing = [asyncio.create_task(producer.store([event(1, partition=number % 2)])) for number in range(6)]
    await until(lambda: waiting(kafka, 2), "two batches waiting to be sent")
    async with asyncio.timeout(30):
        await producer.stop()
        assert {receipts[0].status for receipts in await asyncio.gather(*storing)} == {"unavailable"}
    assert not kafka.at_work


async def test_a_cancelled_request_does_not_affect_others(producer: EventProducer, kafka: Kafka) -> None:
    kafka.away.clear()
    first, second = (asyncio.create_task(producer.store([event(line)])) for line in (1, 2))
    await until(lambda: waiting(kafka), "a batch waiting to be sent")
    first.cancel()
    kafka.away.set()
    assert (await second)[0].status == "accepted"
    with pytest.raises(asyncio.CancelledError):
        await first


def test_the_fake_has_the_signature_of_the_real_producer() -> None:
    import inspect

    from aiokafka import AIOKafkaProducer

    real: Any = AIOKafkaProducer
    assert list(inspect.signature(real.send_batch).parameters)[1:] == ["batch", "topic", "partition"]
    assert inspect.iscoroutinefunction(real.send_batch)
