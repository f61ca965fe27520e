"""Which records of the stream this worker writes: pause, seek, resume, and what each delivered record means.

The consumer has all partitions assigned and paused. A partition that was gained is checked against the log, sought to
its position and resumed; one that was lost is paused and forgotten. Whatever arrives for a partition that is not held,
or from before its position, is dropped: it will come again, to whoever holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from aiokafka import TopicPartition

from services.aggregator.leases import Partition
from services.aggregator.log import theirs
from services.aggregator.spans import Claim, Record, Span
from services.aggregator.tenancy import Lease


class Consumer(Protocol):
    """What is used of the Kafka consumer."""

    def assign(self, partitions: list[TopicPartition]) -> None: ...
    def pause(self, *partitions: TopicPartition) -> None: ...
    def resume(self, *partitions: TopicPartition) -> None: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...


@dataclass(slots=True)
class Held:
    """A partition being read. `fresh` until its first batch: records in flight from before the seek may still come."""

    epoch: int
    next_offset: int
    position: int
    fresh: bool = True


class Reader:
    """What is held, and how far it has been read. No method waits, so none can be interleaved."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._held: dict[Partition, Held] = {}

    @property
    def next_offsets(self) -> dict[Partition, int]:
        """The next offset to read of each partition held; what was read before may not be committed yet."""
        return {partition: held.next_offset for partition, held in self._held.items()}

    @property
    def positions(self) -> dict[Partition, int]:
        """The position of each partition held, as it was last written."""
        return {partition: held.position for partition, held in self._held.items()}

    def epoch(self, partition: Partition) -> int | None:
        """The epoch under which a partition is held, or None."""
        held = self._held.get(partition)
        return held.epoch if held else None

    def gain(self, lease: Lease) -> None:
        """Read on from the lease's position."""
        partition = lease.position.partition
        self._held[partition] = Held(lease.epoch, lease.position.next_offset, lease.position.next_offset)
        self._consumer.seek(theirs(partition), lease.position.next_offset)
        self._consumer.resume(theirs(partition))

    def lose(self, partitions: Iterable[Partition]) -> None:
        """Stop reading these, and forget how far they were read."""
        for partition in partitions:
            if self._held.pop(partition, None) is not None:
                self._consumer.pause(theirs(partition))

    def lose_all(self) -> None:
        """Stop reading everything."""
        self.lose(tuple(self._held))

    def written(self, claims: Iterable[Claim]) -> None:
        """What these claim is in PostgreSQL."""
        for claim in claims:
            held = self._held.get(claim.partition)
            if held is not None and held.epoch == claim.epoch:
                held.position = claim.end

    def spans(self, records: Iterable[Record]) -> list[Span]:
        """The records to write, a span for each partition held; counts them as read.

        A first batch that starts beyond the position is either a gap in the log or a leftover from before the seek:
        the partition is sought again, and from then on a gap is a gap. Called where records are delivered: while it
        runs, none is in flight.
        """
        spans: list[Span] = []
        for place, group in groupby(records, key=attrgetter("topic", "partition")):
            partition = Partition(*place)
            held = self._held.get(partition)
            if held is None:
                continue
            wanted = list(group)
            if wanted[0].offset < held.next_offset:
                wanted = [record for record in wanted if record.offset >= held.next_offset]
                if not wanted:
                    continue
            if held.fresh and wanted[0].offset != held.next_offset:
                self._consumer.seek(theirs(partition), held.next_offset)
            else:
                spans.append(Span(partition, held.epoch, held.next_offset, wanted[-1].offset + 1, wanted))
                held.next_offset = wanted[-1].offset + 1
            held.fresh = False
        return spans

    def skip(self, partition: Partition, start: int, end: int) -> Span | None:
        """A span without records over a gap that will never deliver one; None if the partition has moved on."""
        held = self._held.get(partition)
        if held is None or held.next_offset != start:
            return None
        held.next_offset = end
        return Span(partition, held.epoch, start, end, ())
