"""The stream: FastStream's batch subscriber over all partitions of both event topics.

It joins no consumer group: which partitions are read is decided by the leases in PostgreSQL, and where from by the
positions there. Until they say so, all partitions are paused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage, TopicPartition
from faststream.kafka.subscriber.usecase import BatchSubscriber

from services.aggregator.leases import Partition
from services.aggregator.spans import Record
from services.aggregator.worker import MAX_RECORDS

_BATCH_TIMEOUT_MS = 50
"""FastStream sleeps it twice when idle, so that a lone record waits up to 0.1 s; batches grow by the fetch size."""


async def _raw(records: tuple[ConsumerRecord[Any, Any], ...]) -> KafkaMessage:
    """Hand records on as they are: FastStream's parser would decode headers, which may hold any bytes."""
    return KafkaMessage(body=b"", raw_message=records, consumer=cast("Any", None))


async def _undecoded(message: KafkaMessage) -> Sequence[Record]:
    return cast("Sequence[Record]", message.raw_message)


def subscribe(
    broker: KafkaBroker, partitions: Sequence[Partition], take: Callable[[Sequence[Record]], Awaitable[None]]
) -> Callable[[], AIOKafkaConsumer]:
    """Declare the subscriber; answers a function that gives its consumer once the broker has started."""
    subscriber = broker.subscriber(
        partitions=[TopicPartition(one.topic, one.number) for one in partitions],
        batch=True,
        max_records=MAX_RECORDS,
        batch_timeout_ms=_BATCH_TIMEOUT_MS,
        ack_policy=AckPolicy.MANUAL,
        auto_offset_reset="latest",
        isolation_level="read_committed",
        fetch_min_bytes=1,
        parser=_raw,
        decoder=_undecoded,
        no_reply=True,
        title="detainer events",
        description="Issued and declined detainers, counted into PostgreSQL exactly once.",
    )

    @subscriber
    async def count(message: KafkaMessage) -> None:
        await take(cast("Sequence[Record]", message.raw_message))

    def consumer() -> AIOKafkaConsumer:
        assert isinstance(subscriber, BatchSubscriber)
        assert subscriber.consumer is not None, "the broker has not been started"
        return subscriber.consumer

    return consumer
