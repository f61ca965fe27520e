"""Read a range of offsets from each of several partitions, without gaps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

_STALLED_SECONDS = 60.0
"""Without progress for this long, the read fails."""

Record = ConsumerRecord[bytes, bytes]


class PartitionRange(NamedTuple):
    """The records of one partition in [start, end). Offsets without a record are transaction markers."""

    partition: TopicPartition
    start: int
    end: int
    records: Sequence[Record]


class NoProgressError(OSError):
    """Kafka returned no further records before the end offset that it reported."""


async def read(
    consumer: AIOKafkaConsumer, begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], most: int
) -> AsyncIterator[list[PartitionRange]]:
    """Yield the records of each partition from its `begins` offset up to its `ends` offset, at most `most` at a time.

    The partitions must be assigned. A partition is paused once it is read to its end. Raises NoProgressError.
    """
    at = {one: start for one, start in begins.items() if start < ends[one]}
    for partition, start in at.items():
        consumer.seek(partition, start)
        consumer.resume(partition)
    clock = asyncio.get_running_loop().time
    progress = clock()
    while at:
        found = await consumer.getmany(timeout_ms=250, max_records=most)
        parts = []
        for partition, start in list(at.items()):
            end = ends[partition]
            reached = min(end, await consumer.position(partition))
            if reached > start:
                records = [record for record in found.get(partition, ()) if record.offset < end]
                parts.append(PartitionRange(partition, start, reached, records))
                at[partition] = reached
            if reached == end:
                consumer.pause(partition)
                del at[partition]
        if parts:
            progress = clock()
            yield parts
        elif clock() - progress > _STALLED_SECONDS:
            raise NoProgressError(f"no further records of {', '.join(f'{one.topic}/{one.partition}' for one in at)}")
