"""From the records of a batch to what must be written: pure, and the definition of what counts.

The ledger keeps, for each identity, the fact of the highest rank (version, fingerprint). That is a maximum over a set,
so neither order nor repetition nor the cut of batches can change the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from schemas.acceptance import Fact, Refused, accept
from schemas.week import ReportingCalendar
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


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is no event, and why. `raw` is kept for operators unless it may hold personal data."""

    partition: Partition
    offset: int
    reason: str
    field: str | None
    detail: str
    sha256: bytes
    key: bytes | None
    raw: bytes | None

    @property
    def may_be_kept(self) -> bool:
        """False where the refusal itself says that the record may hold a personal field."""
        return self.reason not in {"a-number", "unknown-field"}


@dataclass(frozen=True, slots=True)
class Placed:
    """An accepted fact, the week it counts in, and the record that brought it."""

    fact: Fact
    week: date
    partition: int
    offset: int


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


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one transaction writes: winners first of all, other new facts, rejects, and the claims."""

    winners: tuple[Placed, ...]
    others: tuple[Placed, ...]
    rejects: tuple[Reject, ...]
    claims: tuple[Claim, ...]


def digest(value: bytes | None) -> bytes:
    """SHA-256 of a record's value; a null value has the digest of no bytes."""
    return hashlib.sha256(value or b"").digest()


def read(records: Iterable[Record], calendar: ReportingCalendar) -> tuple[list[Placed], list[Reject]]:
    """Accept or reject each record; nothing is dropped."""
    placed: list[Placed] = []
    rejects: list[Reject] = []
    for record in records:
        try:
            fact = accept(record.value, record.topic)
        except Refused as refused:
            rejects.append(
                Reject(
                    Partition(record.topic, record.partition),
                    record.offset,
                    refused.code,
                    refused.field,
                    refused.detail,
                    digest(record.value),
                    record.key,
                    record.value,
                )
            )
        else:
            week = calendar.week_of(fact.counted_at).first
            placed.append(Placed(fact, week, record.partition, record.offset))
    return placed, rejects


def reduce(placed: Iterable[Placed]) -> tuple[list[Placed], list[Placed]]:
    """The winner of each identity, and the other facts; a fact that came twice is kept once, as it first came."""
    distinct: dict[tuple[object, ...], Placed] = {}
    for one in placed:
        distinct.setdefault((*one.fact.identity, *one.fact.rank), one)
    best: dict[tuple[object, ...], Placed] = {}
    for one in distinct.values():
        held = best.get(one.fact.identity)
        if held is None or held.fact.rank < one.fact.rank:
            best[one.fact.identity] = one
    winners = list(best.values())
    others = [one for one in distinct.values() if best[one.fact.identity] is not one]
    return winners, others


def batch(spans: Sequence[tuple[Partition, int, int, Sequence[Record]]], calendar: ReportingCalendar) -> Batch:
    """Turn spans (partition, epoch, start offset, records in order) into what one transaction writes."""
    placed, rejects = read((record for *_, records in spans for record in records), calendar)
    winners, others = reduce(placed)
    claims = []
    for partition, epoch, start, records in sorted(spans, key=lambda span: span[0]):
        last = records[-1]
        claims.append(
            Claim(
                partition,
                epoch,
                start,
                last.offset + 1,
                len(records),
                sum(reject.partition == partition for reject in rejects),
                last.offset,
                digest(last.value),
            )
        )
    return Batch(tuple(winners), tuple(others), tuple(rejects), tuple(claims))
