"""Spans of the log: what was read of a partition, how it is cut, and what a batch claims to have read.

Pure. A span may hold fewer records than offsets: transactions leave markers, and aborted records are not delivered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.aggregator.leases import Partition


class Record(Protocol):
    """What is used of a Kafka record."""

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


class Span(NamedTuple):
    """The offsets [start, end) of one partition under one epoch, and the records in them, in order."""

    partition: Partition
    epoch: int
    start: int
    end: int
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Claim:
    """The span [start, end) of one partition that a batch covers, and the proof of having read it.

    `last_digest` is the SHA-256 of the record at `last_offset`, None when the span holds no record.
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
    """SHA-256 of a record's value; a null value has the digest of no bytes."""
    return hashlib.sha256(value or b"").digest()


def count(spans: Iterable[Span]) -> int:
    """How many records there are in these spans."""
    return sum(len(span.records) for span in spans)


def parts(spans: list[Span], limit: int) -> Iterator[list[Span]]:
    """The same spans in parts of at most `limit` records; each partition's records stay in order."""
    if count(spans) <= limit:
        yield spans
    else:
        for half in halves(spans):
            yield from parts(half, limit)


def halves(spans: list[Span]) -> tuple[list[Span], list[Span]]:
    """Two parts; of one span, of about the same number of records, of which there must be two or more."""
    if len(spans) > 1:
        middle = len(spans) // 2
        return spans[:middle], spans[middle:]
    (span,) = spans
    middle = len(span.records) // 2
    cut = span.records[middle].offset
    first = span._replace(end=cut, records=span.records[:middle])
    return [first], [span._replace(start=cut, records=span.records[middle:])]


def claim(span: Span, rejected: int) -> Claim:
    """The claim of a span of which so many records were rejected."""
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
