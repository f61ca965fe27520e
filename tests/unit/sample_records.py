"""Kafka records to test with, without a Kafka."""

from __future__ import annotations

from dataclasses import dataclass

from services.aggregator.leases import Partition
from services.aggregator.log import Position
from services.aggregator.tenancy import Lease

ISSUED_0 = Partition("detainer-issued", 0)
ISSUED_1 = Partition("detainer-issued", 1)
DECLINED_0 = Partition("detainer-declined", 0)


@dataclass(frozen=True)
class Record:
    """What the aggregator uses of a record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None


def records(partition: Partition, *offsets: int) -> list[Record]:
    """Records without a value at these offsets."""
    return [Record(partition.topic, partition.number, offset) for offset in offsets]


def lease(partition: Partition, next_offset: int, epoch: int = 1) -> Lease:
    """A lease that begins at a position."""
    return Lease(Position(partition, next_offset, None, None), epoch, None)
