"""Selects the delivered records that this worker writes, and controls the consumer: pause, seek, resume.

The consumer is assigned all partitions, paused. `start` seeks a leased partition to its position and resumes it;
`stop` pauses it and drops its state. Records of partitions that are not being read, and records below the position,
are dropped: Kafka delivers them again to the worker with the lease.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from aiokafka import TopicPartition

from schemas.log import Partition, Vector
from services.aggregator.lease_manager import Lease
from services.aggregator.spans import Claim, Record, Span
from services.runtime.kafka import topic_partition


class Consumer(Protocol):
    """The methods of the Kafka consumer that the reader calls."""

    def assign(self, partitions: list[TopicPartition]) -> None: ...
    def pause(self, *partitions: TopicPartition) -> None: ...
    def resume(self, *partitions: TopicPartition) -> None: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...


@dataclass(slots=True)
class _Progress:
    """State of a partition being read. `fresh` until its first batch: older records may still be in flight."""

    epoch: int
    next_offset: int
    position: int
    fresh: bool = True


class Reader:
    """The partitions being read, and how far. No method awaits, so calls never interleave."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._progress: dict[Partition, _Progress] = {}

    @property
    def next_offsets(self) -> Vector:
        """The next offset to read of each partition. Records below it may not be committed yet."""
        return Vector({partition: one.next_offset for partition, one in self._progress.items()})

    @property
    def positions(self) -> Vector:
        """The last committed position of each partition being read."""
        return Vector({partition: one.position for partition, one in self._progress.items()})

    def epoch(self, partition: Partition) -> int | None:
        """The epoch under which a partition is read, or None if it is not."""
        progress = self._progress.get(partition)
        return progress.epoch if progress else None

    def start(self, lease: Lease) -> None:
        """Start to read a partition at the lease's position."""
        partition, position = lease.checkpoint.partition, lease.checkpoint.next_offset
        self._progress[partition] = _Progress(lease.epoch, position, position)
        self._consumer.seek(topic_partition(partition), position)
        self._consumer.resume(topic_partition(partition))

    def stop(self, partitions: Iterable[Partition]) -> None:
        """Stop reading these partitions and drop their state. Partitions that are not being read are ignored."""
        for partition in partitions:
            if self._progress.pop(partition, None) is not None:
                self._consumer.pause(topic_partition(partition))

    def stop_all(self) -> None:
        """Stop reading all partitions."""
        self.stop(tuple(self._progress))

    def mark_written(self, claims: Iterable[Claim]) -> None:
        """Advance the positions to the end of these committed claims."""
        for claim in claims:
            progress = self._progress.get(claim.partition)
            if progress is not None and progress.epoch == claim.epoch:
                progress.position = claim.end

    def spans(self, records: Iterable[Record]) -> list[Span]:
        """The records to write, one span for each partition being read. Marks them as read.

        A first batch that starts above the position follows a gap in the log, or was in flight before the seek. The
        partition is sought again; a gap after that is a gap in the log. Call this only from the delivery handler:
        while it runs, no record is in flight.
        """
        spans: list[Span] = []
        for (topic, number), group in groupby(records, key=attrgetter("topic", "partition")):
            partition = Partition(topic, number)
            progress = self._progress.get(partition)
            if progress is None:
                continue
            wanted = list(group)
            if wanted[0].offset < progress.next_offset:
                wanted = [record for record in wanted if record.offset >= progress.next_offset]
                if not wanted:
                    continue
            if progress.fresh and wanted[0].offset != progress.next_offset:
                self._consumer.seek(topic_partition(partition), progress.next_offset)
            else:
                spans.append(Span(partition, progress.epoch, progress.next_offset, wanted[-1].offset + 1, wanted))
                progress.next_offset = wanted[-1].offset + 1
            progress.fresh = False
        return spans

    def skip(self, partition: Partition, start: int, end: int) -> Span | None:
        """A span without records over a gap in the log, or None if the partition is no longer at `start`."""
        progress = self._progress.get(partition)
        if progress is None or progress.next_offset != start:
            return None
        progress.next_offset = end
        return Span(partition, progress.epoch, start, end, ())
