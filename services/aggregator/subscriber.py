"""FastStream's batch subscriber over all partitions of the event topics.

It joins no consumer group. The leases in PostgreSQL decide which partitions are read, and the positions there at which
offset. Until a partition is leased, it is paused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage, TopicPartition
from faststream.kafka.subscriber.usecase import BatchSubscriber

from schemas.log import Partition
from services.aggregator.spans import Record
from services.aggregator.worker import MAX_RECORDS

_BATCH_TIMEOUT_MS = 50
"""FastStream sleeps this long twice when idle, so a single record waits up to 0.1 s. Batches grow by the fetch size."""


async def _unparsed(records: tuple[ConsumerRecord[Any, Any], ...]) -> KafkaMessage:
    """Pass records through unchanged. FastStream's parser would decode headers, which may contain any bytes."""
    return KafkaMessage(body=b"", raw_message=records, consumer=cast("Any", None))


async def _undecoded(message: KafkaMessage) -> Sequence[Record]:
    return cast("Sequence[Record]", message.raw_message)


def subscribe(
    broker: KafkaBroker, partitions: Sequence[Partition], handler: Callable[[Sequence[Record]], Awaitable[None]]
) -> Callable[[], AIOKafkaConsumer]:
    """Declare the subscriber. Returns a function that returns its consumer, once the broker has started."""
    subscriber = broker.subscriber(
        partitions=[TopicPartition(one.topic, one.number) for one in partitions],
        batch=True,
        max_records=MAX_RECORDS,
        batch_timeout_ms=_BATCH_TIMEOUT_MS,
        ack_policy=AckPolicy.MANUAL,
        auto_offset_reset="latest",
        isolation_level="read_committed",
        fetch_min_bytes=1,
        parser=_unparsed,
        decoder=_undecoded,
        no_reply=True,
        title="detainer events",
        description="Issued and declined detainers, counted into PostgreSQL exactly once.",
    )

    @subscriber
    async def count(message: KafkaMessage) -> None:
        await handler(cast("Sequence[Record]", message.raw_message))

    def consumer() -> AIOKafkaConsumer:
        assert isinstance(subscriber, BatchSubscriber)
        assert subscriber.consumer is not None, "the broker has not been started"
        return subscriber.consumer

    return consumer
