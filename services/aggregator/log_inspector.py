"""Queries about the Kafka log, apart from the stream: its ends, single records, and whether it was replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from schemas.log import Partition, RecordAddress, Vector
from schemas.topics import EVENT_TOPICS
from services.aggregator.spans import Record, digest
from services.runtime import kafka
from services.runtime.kafka import topic_partition
from services.runtime.kafka_access import AccessCheck, check_on
from services.runtime.kafka_rights import READ_EVENTS

_TIMEOUT = 10.0
"""Seconds. Limits one query, over all brokers it tries, and so how long a worker without Kafka keeps its leases."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The position of a partition (the next offset to read), with the offset and SHA-256 of the last record read."""

    partition: Partition
    next_offset: int
    last_offset: int | None
    last_digest: bytes | None


def position_lost(checkpoint: Checkpoint, start: int, end: int, found: bytes | None) -> str | None:
    """Why reading from the checkpoint would skip or repeat records, or None if it would not.

    `start` and `end` are the log's first and next offsets. `found` is the digest of the record now at `last_offset`.
    """
    if checkpoint.next_offset < start:
        return f"the log starts at offset {start}; the records from offset {checkpoint.next_offset} are missing"
    if checkpoint.next_offset > end:
        return f"the log ends at offset {end}, below the position {checkpoint.next_offset}; records are missing"
    if checkpoint.last_offset is not None and checkpoint.last_offset >= start and found != checkpoint.last_digest:
        return f"the record at offset {checkpoint.last_offset} has changed; the topic was recreated"
    return None


class LogInspector:
    """Queries the log with its own consumer. The aggregator never counts the records that this consumer fetches."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._consumer = AIOKafkaConsumer(
            **client,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=65_536,
            fetch_max_bytes=1_048_576,
        )
        self._lock = asyncio.Lock()
        self._access = AccessCheck(READ_EVENTS)

    async def start(self) -> None:
        """Connect. Raises KafkaError if no broker responds, MissingRightError if it denies the event topics."""
        await kafka.start(self._consumer.start)
        await check_on(self._consumer._client, READ_EVENTS)

    async def stop(self) -> None:
        """Close the connection."""
        await kafka.stop(self._consumer)

    async def partitions(self) -> set[Partition]:
        """The current partitions of the event topics. Raises KafkaError if no broker responds, or MissingRightError."""
        await self._access.repeat(self._consumer._client)
        try:
            async with asyncio.timeout(_TIMEOUT):
                return set(await kafka.partitions(self._consumer, EVENT_TOPICS))
        except TimeoutError:
            raise KafkaTimeoutError(f"no broker responded within {_TIMEOUT:g} s") from None

    async def ends(self, partitions: Iterable[Partition]) -> Vector:
        """The last stable offset of each partition. Raises KafkaError if a leader is missing or does not respond."""
        found = await self._consumer.end_offsets([topic_partition(one) for one in partitions])
        return Vector({Partition(*tp): offset for tp, offset in found.items()})

    async def lost(self, checkpoints: Sequence[Checkpoint]) -> dict[Partition, str]:
        """The partitions that cannot be read from their checkpoint, with the reason for each."""
        if not checkpoints:
            return {}
        requested = [topic_partition(one.partition) for one in checkpoints]
        starts = await self._consumer.beginning_offsets(requested)
        ends = await self._consumer.end_offsets(requested)
        within = [one for one in checkpoints if one.last_offset is not None and _inside(one, starts, ends)]
        found = await self._digests({topic_partition(one.partition): one.last_offset or 0 for one in within})
        reasons = {}
        for one in checkpoints:
            tp = topic_partition(one.partition)
            if reason := position_lost(one, starts[tp], ends[tp], found.get(tp)):
                reasons[one.partition] = reason
        return reasons

    async def _digests(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, bytes]:
        """The digest of the record at each offset. Offsets without a record are omitted."""
        first = await self._first(offsets)
        return {tp: digest(record.value) for tp, record in first.items() if record.offset == offsets[tp]}

    async def _first(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, Record]:
        """The first record at or after each offset. Each offset must be below the log's end."""
        found: dict[TopicPartition, Record] = {}
        if not offsets:
            return found
        async with self._lock:
            self._consumer.assign(list(offsets))
            for tp, offset in offsets.items():
                self._consumer.seek(tp, offset)
            ends = await self._consumer.end_offsets(list(offsets))
            pending = set(offsets)
            async with asyncio.timeout(_TIMEOUT):
                while pending:
                    for tp, records in (await self._consumer.getmany(timeout_ms=500)).items():
                        if tp in pending and records:
                            found[tp] = records[0]
                    for tp in list(pending):
                        if tp in found or await self._consumer.position(tp) >= ends[tp]:
                            pending.discard(tp)
                            self._consumer.pause(tp)
        return found

    async def record(self, address: RecordAddress) -> tuple[bool, bytes | None]:
        """Whether the log has a record at this address, and the record's value."""
        tp, offset = topic_partition(address.partition), address.offset
        end = (await self._consumer.end_offsets([tp]))[tp]
        if not (await self._consumer.beginning_offsets([tp]))[tp] <= offset < end:
            return False, None
        first = (await self._first({tp: offset})).get(tp)
        return (True, first.value) if first is not None and first.offset == offset else (False, None)

    async def first_offset(self, partition: Partition, start: int) -> int | None:
        """The offset of the first record at or after `start`, or None if there is none yet."""
        tp = topic_partition(partition)
        if (await self._consumer.end_offsets([tp]))[tp] <= start:
            return None
        first = (await self._first({tp: start})).get(tp)
        return first.offset if first is not None else None

    async def gap_end(self, partition: Partition, start: int) -> int | None:
        """The log's end if there is no record from `start` to it, only transaction markers; otherwise None."""
        tp = topic_partition(partition)
        end: int = (await self._consumer.end_offsets([tp]))[tp]
        if end <= start:
            return None
        async with self._lock, asyncio.timeout(_TIMEOUT):
            self._consumer.assign([tp])
            self._consumer.seek(tp, start)
            for _ in range(4):
                if (await self._consumer.getmany(tp, timeout_ms=250)).get(tp):
                    return None
                if await self._consumer.position(tp) >= end:
                    return end
        return None


def _inside(checkpoint: Checkpoint, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> bool:
    tp = topic_partition(checkpoint.partition)
    return checkpoint.last_offset is not None and starts[tp] <= checkpoint.last_offset < ends[tp]
