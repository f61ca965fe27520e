"""Reads the committed records of a single-partition topic, up to its current end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError

from services.runtime import kafka, kafka_access, kafka_rights, transactions
from services.runtime.transactions import OpenTransactionError

_SECONDS = 30
_AT_ONCE = 20
TIMEOUT_SECONDS = 5.0
"""How long to wait for open transactions to end. The publisher's own take milliseconds."""
_POLL_SECONDS = 0.1


async def read_committed(
    client: Mapping[str, Any], topic: str, *, start: int = 0, last: int = 0
) -> AsyncGenerator[ConsumerRecord[bytes | None, bytes | None], None]:
    """Yield each committed record from offset `start` on, and in any case the `last` offsets before the end.

    OpenTransactionError if a producer's open transaction hides records and does not end in time. The hidden records may
    be committed later, so a reader that ignored them could treat sent messages as unsent.
    UnknownTopicOrPartitionError if Kafka lacks the topic.
    """
    partition = TopicPartition(topic, 0)
    everything = AIOKafkaConsumer(**client, enable_auto_commit=False)
    consumer = AIOKafkaConsumer(**client, isolation_level="read_committed", enable_auto_commit=False)
    try:
        await kafka.start(everything.start)
        await kafka_access.check_on(everything._client, kafka_rights.read(topic))
        await kafka.start(consumer.start)
        end = await _decided(everything, consumer, partition)
        consumer.assign([partition])
        first = (await consumer.beginning_offsets([partition]))[partition]
        consumer.seek(partition, max(first, min(start, end - last)))
        while True:
            async with asyncio.timeout(_SECONDS):
                if await consumer.position(partition) >= end:
                    return
                found = await consumer.getmany(partition, timeout_ms=500, max_records=_AT_ONCE)
            for record in found.get(partition, ()):
                yield record
    finally:
        await kafka.stop(consumer)
        await kafka.stop(everything)


async def _decided(everything: AIOKafkaConsumer, consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    """The end offset for committed records, once every transaction below the current end is committed or aborted."""
    high = await _end(everything, partition)
    clock = asyncio.get_running_loop().time
    deadline = clock() + TIMEOUT_SECONDS
    while True:
        stable: int = (await consumer.end_offsets([partition]))[partition]
        if stable >= high:
            return stable
        if clock() > deadline:
            blocked = transactions.message(f"{partition.topic}/{partition.partition}", stable)
            raise OpenTransactionError(f"{blocked}; see the runbook open-transaction")
        await asyncio.sleep(_POLL_SECONDS)


async def _end(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    """The end of the partition. UnknownTopicOrPartitionError if Kafka lacks it: the client would only time out."""
    try:
        end: int = (await consumer.end_offsets([partition]))[partition]
    except KafkaTimeoutError:
        cluster = await consumer._client.fetch_all_metadata()
        if not cluster.partitions_for_topic(partition.topic):
            raise UnknownTopicOrPartitionError(partition) from None
        raise
    return end
