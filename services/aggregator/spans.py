"""Spans: ranges of offsets that were read from one partition, how batches split them, and what a batch claims. Pure.

A span may have fewer records than offsets: transaction markers take offsets, and aborted records are not delivered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schemas.log import Partition


class Record(Protocol):
    """The attributes of a Kafka record that the aggregator reads."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Span(NamedTuple):
    """The offsets [start, end) of one partition under one epoch, with their records in order."""

    partition: Partition
    epoch: int
    start: int
    end: int
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Claim:
    """The offsets [start, end) of one partition that a batch covers.

    `last_digest` is the SHA-256 of the record at `last_offset`. Both are None if the span has no records.
    """

    partition: Partition
    epoch: int
    start: int
    end: int
    records: int = 0
    rejected: int = 0
    last_offset: int | None = None
    last_digest: bytes | None = None


def digest(value: bytes | None) -> bytes:
    """SHA-256 of a record's value. A null value has the digest of the empty string."""
    return hashlib.sha256(value or b"").digest()


def count_records(spans: Iterable[Span]) -> int:
    """The number of records in these spans."""
    return sum(len(span.records) for span in spans)


def split(spans: list[Span], limit: int) -> Iterator[list[Span]]:
    """Split spans into groups of at most `limit` records. Each partition's records stay in order."""
    if count_records(spans) <= limit:
        yield spans
    else:
        for half in halves(spans):
            yield from split(half, limit)


def halves(spans: list[Span]) -> tuple[list[Span], list[Span]]:
    """Split in two: between spans, or in the middle of a single span, which must have at least two records."""
    if len(spans) > 1:
        middle = len(spans) // 2
        return spans[:middle], spans[middle:]
    (span,) = spans
    middle = len(span.records) // 2
    cut = span.records[middle].offset
    first = span._replace(end=cut, records=span.records[:middle])
    return [first], [span._replace(start=cut, records=span.records[middle:])]


def claim(span: Span, rejected: int) -> Claim:
    """The claim for a span with this number of rejected records."""
    last = span.records[-1] if span.records else None
    return Claim(
        span.partition,
        span.epoch,
        span.start,
        span.end,
        len(span.records),
        rejected,
        last.offset if last else None,
        digest(last.value) if last else None,
    )
