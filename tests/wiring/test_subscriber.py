"""services.aggregator.subscriber: the records that reach the handler, and the configuration of the consumer.

TestKafkaBroker creates the records itself: every offset is 0, headers are text, and nothing is paused, sought or
committed. Other records are passed to the subscriber directly, as the client library would pass them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, TestKafkaBroker
from faststream.kafka.subscriber.usecase import BatchSubscriber

from services.aggregator import subscriber
from services.aggregator.spans import Record
from services.aggregator.worker import PARTITIONS
from services.runtime import kafka
from services.runtime.settings import Settings


class Written:
    """A handler that records its calls, and raises `error` if set."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Record]] = []
        self.error: Exception | None = None

    async def __call__(self, records: Sequence[Record]) -> None:
        self.batches.append(records)
        if self.error is not None:
            raise self.error


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
async def broker(written: Written) -> AsyncIterator[KafkaBroker]:
    broker = kafka.broker(Settings(), "test")
    subscriber.subscribe(broker, PARTITIONS, written)
    async with TestKafkaBroker(broker):
        yield broker


@pytest.fixture
def stream(broker: KafkaBroker) -> BatchSubscriber:
    (declared,) = broker.subscribers
    assert isinstance(declared, BatchSubscriber)
    return declared


def record(**changes: Any) -> ConsumerRecord[Any, Any]:
    members: dict[str, Any] = {
        "topic": "detainer-issued",
        "partition": 1,
        "offset": 5,
        "timestamp": 0,
        "timestamp_type": 0,
        "key": b"key",
        "value": b"value",
        "checksum": None,
        "serialized_key_size": 3,
        "serialized_value_size": 5,
        "headers": (),
    }
    return ConsumerRecord(**(members | changes))


@pytest.mark.parametrize("topic", ["detainer-issued", "detainer-declined"])
@pytest.mark.parametrize("partition", [0, 7, 11])
async def test_every_partition_of_both_topics_reaches_write(
    broker: KafkaBroker, written: Written, topic: str, partition: int
) -> None:
    await broker.publish(b"value", topic=topic, partition=partition, key=b"key")
    ((one,),) = written.batches
    assert (one.topic, one.partition, one.key, one.value) == (topic, partition, b"key", b"value")


async def test_another_topic_does_not_reach_write(broker: KafkaBroker, written: Written) -> None:
    await broker.publish(b"value", topic="report-ready", partition=0)
    assert written.batches == []


@pytest.mark.parametrize("value", [b"", b"{", b"\xff\xfe\x00", b'{"a": 1}', b"x" * 1_000_000])
async def test_a_value_is_never_decoded(broker: KafkaBroker, written: Written, value: bytes) -> None:
    await broker.publish(value, topic="detainer-issued", partition=0, key=b"key")
    assert [[one.value for one in batch] for batch in written.batches] == [[value]]


async def test_a_null_value_reaches_write(broker: KafkaBroker, written: Written) -> None:
    await broker.publish(None, topic="detainer-issued", partition=0, key=b"key")
    assert [[one.value for one in batch] for batch in written.batches] == [[None]]


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": (("content-type", b"\xff\xfe"), ("\u00e9", b""), ("correlation_id", b"\x80"))},
        {"headers": (("content-type", None),)},
        {"headers": (("reply_to", b"report-ready"),)},
        {"key": None, "value": None},
        {"key": b"\xff"},
    ],
    ids=[
        "bytes that are not UTF-8",
        "null header",
        "a request for a reply",
        "no key, no value",
        "key that is not UTF-8",
    ],
)
async def test_a_record_reaches_write_unchanged(
    stream: BatchSubscriber, written: Written, changes: dict[str, Any]
) -> None:
    one = record(**changes)
    await stream.process_message((one,))
    ((found,),) = written.batches
    assert cast("object", found) is one


async def test_a_delivery_of_several_partitions_is_one_call_in_the_same_order(
    stream: BatchSubscriber, written: Written
) -> None:
    delivery = (record(offset=5), record(offset=6), record(partition=2, offset=0), record(topic="detainer-declined"))
    await stream.process_message(delivery)
    assert written.batches == [delivery]


async def test_an_error_of_write_would_be_lost_silently(stream: BatchSubscriber, written: Written) -> None:
    """Therefore `Worker.take` must not raise (see test_worker_write): the stream continues after the failed batch."""
    written.error = RuntimeError("planted")
    await stream.consume((record(offset=5),))
    written.error = None
    await stream.consume((record(offset=6),))
    assert [[one.offset for one in batch] for batch in written.batches] == [[5], [6]]


async def test_the_consumer_joins_no_group_and_commits_nothing_by_itself(stream: BatchSubscriber) -> None:
    options = stream._connection_args
    assert stream.ack_policy is AckPolicy.MANUAL
    assert stream.group_id is None
    assert options["enable_auto_commit"] is False
    assert options["isolation_level"] == "read_committed"
    assert options["auto_offset_reset"] == "latest"
    assert options.get("group_instance_id") is None


async def test_it_is_assigned_all_partitions_and_subscribes_to_nothing(stream: BatchSubscriber) -> None:
    assert [(one.topic, one.partition) for one in stream.partitions] == [
        (topic, number) for topic in ("detainer-issued", "detainer-declined") for number in range(12)
    ] + [("week-attested", 0)]
    assert stream.topics == []
    assert stream.pattern is None


async def test_no_topic_is_created_by_reading(broker: KafkaBroker) -> None:
    assert broker.config.broker_config.allow_auto_create_topics is False


def test_there_is_no_consumer_before_the_broker_has_started(written: Written) -> None:
    consumer = subscriber.subscribe(kafka.broker(Settings(), "test"), PARTITIONS, written)
    with pytest.raises(AssertionError, match="has not been started"):
        consumer()
