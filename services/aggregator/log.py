"""Looking at the log beside the stream: where it starts and ends, and whether it is still the same log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from schemas.topics import EVENT_TOPICS
from services.aggregator.leases import Partition
from services.aggregator.spans import Record, digest
from services.runtime import kafka

_PATIENCE = 10.0
"""Seconds that a look at the log may take; a broker that is away answers none. However many brokers are asked in turn:
this bounds how long a worker that is cut off from Kafka keeps its leases."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition is to be read on: the next offset, and the last record read before it."""

    partition: Partition
    next_offset: int
    last_offset: int | None
    last_digest: bytes | None


def position_lost(position: Position, start: int, end: int, found: bytes | None) -> str | None:
    """Why reading on from `position` would skip or repeat records, or None when it would not.

    `start` and `end` are the log's first and next offsets; `found` is the digest of the record now at `last_offset`.
    """
    if position.next_offset < start:
        return f"the log starts at {start}, records from {position.next_offset} on are gone"
    if position.next_offset > end:
        return f"the log ends at {end}, before the position {position.next_offset}: records were lost"
    if position.last_offset is not None and position.last_offset >= start and found != position.last_digest:
        return f"the record at {position.last_offset} is not the one that was read: the topic was made anew"
    return None


class Log:
    """A consumer of its own that never delivers to the aggregator: it only answers questions."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._consumer = AIOKafkaConsumer(
            **client,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=65_536,
            fetch_max_bytes=1_048_576,
        )
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers."""
        await kafka.start(self._consumer.start)

    async def stop(self) -> None:
        """Close the connection."""
        await kafka.stop(self._consumer)

    async def partitions(self) -> set[Partition]:
        """All partitions of the topics to read, as they are now. KafkaError when no broker answers."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return {Partition(*tp) for tp in await kafka.partitions(self._consumer, EVENT_TOPICS)}
        except TimeoutError:
            raise KafkaTimeoutError(f"no broker has answered for {_PATIENCE:g} s") from None

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The next offset of each partition. KafkaError when one has no leader, or its leader does not answer."""
        found = await self._consumer.end_offsets([theirs(one) for one in partitions])
        return {Partition(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def lost(self, positions: Sequence[Position]) -> dict[Partition, str]:
        """The partitions that cannot be read on from their position, and why."""
        if not positions:
            return {}
        asked = [theirs(one.partition) for one in positions]
        starts = await self._consumer.beginning_offsets(asked)
        ends = await self._consumer.end_offsets(asked)
        within = [one for one in positions if one.last_offset is not None and _inside(one, starts, ends)]
        found = await self._digests({theirs(one.partition): one.last_offset or 0 for one in within})
        reasons = {}
        for one in positions:
            tp = theirs(one.partition)
            if reason := position_lost(one, starts[tp], ends[tp], found.get(tp)):
                reasons[one.partition] = reason
        return reasons

    async def _digests(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, bytes]:
        """The digest of the record at each offset; an offset that holds no record is left out."""
        first = await self._first(offsets)
        return {tp: digest(record.value) for tp, record in first.items() if record.offset == offsets[tp]}

    async def _first(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, Record]:
        """The first record at or behind each offset, which must be below the log's end."""
        found: dict[TopicPartition, Record] = {}
        if not offsets:
            return found
        async with self._lock:
            self._consumer.assign(list(offsets))
            for tp, offset in offsets.items():
                self._consumer.seek(tp, offset)
            ends = await self._consumer.end_offsets(list(offsets))
            behind = set(offsets)
            async with asyncio.timeout(_PATIENCE):
                while behind:
                    for tp, records in (await self._consumer.getmany(timeout_ms=500)).items():
                        if tp in behind and records:
                            found[tp] = records[0]
                    for tp in list(behind):
                        if tp in found or await self._consumer.position(tp) >= ends[tp]:
                            behind.discard(tp)
                            self._consumer.pause(tp)
        return found

    async def record(self, partition: Partition, offset: int) -> tuple[bool, bytes | None]:
        """Whether the log holds a record at this offset, and its value."""
        tp = theirs(partition)
        end = (await self._consumer.end_offsets([tp]))[tp]
        if not (await self._consumer.beginning_offsets([tp]))[tp] <= offset < end:
            return False, None
        first = (await self._first({tp: offset})).get(tp)
        return (True, first.value) if first is not None and first.offset == offset else (False, None)

    async def begins_at(self, partition: Partition, start: int) -> int | None:
        """The offset of the first record at or behind `start`; None if there is none yet."""
        tp = theirs(partition)
        if (await self._consumer.end_offsets([tp]))[tp] <= start:
            return None
        first = (await self._first({tp: start})).get(tp)
        return first.offset if first is not None else None

    async def gap_end(self, partition: Partition, start: int) -> int | None:
        """Where the records go on if [start, end) holds none (transaction markers), else None."""
        tp = theirs(partition)
        end: int = (await self._consumer.end_offsets([tp]))[tp]
        if end <= start:
            return None
        async with self._lock, asyncio.timeout(_PATIENCE):
            self._consumer.assign([tp])
            self._consumer.seek(tp, start)
            for _ in range(4):
                if (await self._consumer.getmany(tp, timeout_ms=250)).get(tp):
                    return None
                if await self._consumer.position(tp) >= end:
                    return end
        return None


def theirs(partition: Partition) -> TopicPartition:
    """The client library's name for a partition."""
    return TopicPartition(partition.topic, partition.number)


def _inside(position: Position, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> bool:
    tp = theirs(position.partition)
    return position.last_offset is not None and starts[tp] <= position.last_offset < ends[tp]
