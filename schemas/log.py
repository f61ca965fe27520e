"""Addresses in the Kafka log: a partition, one record, and a vector of offsets, one for each partition.

All code that compares offsets uses these types. Their JSON form, `{"detainer-issued": {"3": 1742}}`, is used only where
a vector is stored or published: in `report.figures`, `week_close.barrier` and the message on `report-ready`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PARTITION = re.compile(r"([a-z-]+)/([0-9]{1,5})")
_RECORD = re.compile(r"([a-z-]+)/([0-9]{1,5})/(-?[0-9]{1,18})")


class AddressError(ValueError):
    """The text is not an address in the log."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic, written `detainer-issued/3`."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Read `topic/partition`. Raises AddressError."""
        match = _PARTITION.fullmatch(text)
        if match is None:
            raise AddressError(f"{text!r}: write topic/partition, such as detainer-issued/3")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True, slots=True, order=True)
class RecordAddress:
    """One record, written `detainer-issued/3/1742`.

    The offset is negative if the record was in a log that has since been replaced (see migration 0002).
    """

    partition: Partition
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> RecordAddress:
        """Read `topic/partition/offset`. Raises AddressError."""
        match = _RECORD.fullmatch(text)
        if match is None:
            raise AddressError(f"{text!r}: write topic/partition/offset, such as detainer-issued/3/1742")
        return cls(Partition(match[1], int(match[2])), int(match[3]))


class Vector(Mapping[Partition, int]):
    """The next offset of each partition: the records below it are covered. Immutable.

    A week's barrier, the aggregators' positions and the log's ends are vectors. A partition that a vector does not name
    was added later; `offset_of` returns 0 for it.
    """

    __slots__ = ("_offsets",)

    def __init__(self, offsets: Mapping[Partition, int] | None = None) -> None:
        self._offsets = dict(sorted((offsets or {}).items()))

    def __getitem__(self, partition: Partition) -> int:
        return self._offsets[partition]

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def __repr__(self) -> str:
        return f"Vector({', '.join(f'{partition}: {offset}' for partition, offset in self.items())})"

    def offset_of(self, partition: Partition) -> int:
        """The next offset of the partition, or 0 if the vector does not name it."""
        return self._offsets.get(partition, 0)

    def covers(self, partition: Partition, offset: int) -> bool:
        """Whether the record at this offset is below the vector."""
        return offset < self.offset_of(partition)

    def shortfall(self, reached: Vector) -> dict[Partition, int]:
        """How many offsets each partition lacks until `reached` covers all that this vector covers; none at 0."""
        lacking = {partition: offset - reached.offset_of(partition) for partition, offset in self.items()}
        return {partition: offsets for partition, offsets in lacking.items() if offsets > 0}

    @classmethod
    def from_json(cls, value: Mapping[str, Mapping[str, Any]]) -> Vector:
        """Read the JSON form. Raises ValueError if a partition or an offset is not an integer."""
        return cls(
            {
                Partition(topic, int(number)): int(offset)
                for topic, numbers in value.items()
                for number, offset in numbers.items()
            }
        )

    def to_json(self) -> dict[str, dict[str, int]]:
        """The JSON form: topic, partition as text, next offset."""
        topics: dict[str, dict[str, int]] = {}
        for partition, offset in self.items():
            topics.setdefault(partition.topic, {})[str(partition.number)] = offset
        return topics
