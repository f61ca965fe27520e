"""From the records of a batch to what must be written: pure, and the definition of what counts.

The ledger keeps, for each identity, the fact of the highest rank (version, fingerprint). That is a maximum over a set,
so neither order nor repetition nor the cut of batches can change the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import NamedTuple

import msgspec

from schemas.acceptance import Refused, accept_any
from schemas.acceptance_fast import accept_fast
from schemas.attestation import Attestation
from schemas.detainer import Kind
from schemas.fact import Fact
from schemas.topics import DETAINER_REJECTED, WEEK_ATTESTED
from schemas.week import WeekIndex
from services.aggregator.leases import Partition
from services.aggregator.spans import Claim, Record, Span, claim, digest

INTERNAL_ERROR = "internal_error"
"""The reason of a reject that is this program's fault, not the sender's."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is no event, and why. `raw` is its bytes where they may be kept for operators, else None."""

    partition: Partition
    offset: int
    reason: str
    field: str | None
    detail: str
    sha256: bytes
    raw: bytes | None


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An accepted fact, its fingerprint, the week it counts in, and the record that brought it."""

    fact: Fact
    fingerprint: bytes
    week: date
    partition: int
    offset: int

    @property
    def rank(self) -> tuple[int, bytes]:
        """The ledger keeps the fact of the highest rank."""
        return self.fact.version, self.fingerprint


class Attested(NamedTuple):
    """An accepted attestation, and the record that brought it."""

    attestation: Attestation
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one transaction writes: winners, other new facts, rejects, the claims, and what agencies attest."""

    winners: tuple[Placed, ...]
    others: tuple[Placed, ...]
    rejects: tuple[Reject, ...]
    claims: tuple[Claim, ...]
    attested: tuple[Attested, ...] = ()


def read(records: Iterable[Record], weeks: WeekIndex) -> tuple[list[Placed], list[Reject]]:
    """Accept or reject each record; nothing is dropped, not even what makes this program fail."""
    placed: list[Placed] = []
    rejects: list[Reject] = []
    first_day = weeks.first_day
    for record in records:
        try:
            fact = accept_fast(record.value, record.topic)
        except Refused as refused:
            rejects.append(_refused(record, refused))
        except Exception as error:
            rejects.append(_failed(record, error, None))
        else:
            week = first_day(fact.counted_us)
            placed.append(Placed(fact, fact.fingerprint, week, record.partition, record.offset))
    return placed, rejects


def read_attested(records: Iterable[Record], weeks: WeekIndex) -> tuple[list[Attested], list[Reject]]:
    """As `read`, of the topic of attestations. One of what is no week would never stand in a report: it is rejected."""
    attested: list[Attested] = []
    rejects: list[Reject] = []
    for record in records:
        try:
            event = accept_any(record.value, record.topic)
            assert isinstance(event, Attestation), "the topic has one type"
            check_week(event, weeks)
        except Refused as refused:
            rejects.append(_refused(record, refused))
        except Exception as error:
            rejects.append(_failed(record, error, None))
        else:
            attested.append(Attested(event, record.partition, record.offset))
    return attested, rejects


def check_week(event: Attestation, weeks: WeekIndex) -> None:
    """Refused when the attestation is of a day on which no week begins."""
    if not weeks.begins_on(event.week):
        raise Refused("not-a-week", "data.week_start", "must be the first day of a week", impersonal=True)


def reject(record: Record, reason: str, field: str | None, detail: str, raw: bytes | None) -> Reject:
    """The reject of one record, of which `raw` is kept."""
    return Reject(
        Partition(record.topic, record.partition),
        record.offset,
        reason,
        field,
        detail,
        digest(record.value),
        raw,
    )


def reduce(placed: Iterable[Placed]) -> tuple[list[Placed], list[Placed]]:
    """The winner of each identity, and the other facts; a fact that came twice is kept once, as it first came."""
    best: dict[tuple[Kind, str, str], Placed] = {}
    crowded: dict[tuple[Kind, str, str], dict[tuple[int, bytes], Placed]] = {}
    for one in placed:
        identity = one.fact.identity
        held = best.setdefault(identity, one)
        if held is not one:
            crowded.setdefault(identity, {held.rank: held}).setdefault(one.rank, one)
    others: list[Placed] = []
    for identity, ranked in crowded.items():
        best[identity] = ranked.pop(max(ranked))
        others.extend(ranked.values())
    return list(best.values()), others


def batch(spans: Sequence[Span], weeks: WeekIndex) -> Batch:
    """Turn spans into what one transaction writes."""
    reading = Reading(weeks)
    for span in spans:
        reading.read(span.partition.topic, span.records)
    return reading.batch(spans)


class Reading:
    """What is found in records that are read a few at a time."""

    def __init__(self, weeks: WeekIndex) -> None:
        self._weeks = weeks
        self._placed: list[Placed] = []
        self._attested: list[Attested] = []
        self._rejects: list[Reject] = []

    def read(self, topic: str, records: Iterable[Record]) -> None:
        """Accept or reject each of these records of one topic."""
        if topic == WEEK_ATTESTED:
            attested, rejects = read_attested(records, self._weeks)
            self._attested += attested
        else:
            placed, rejects = read(records, self._weeks)
            self._placed += placed
        self._rejects += rejects

    def batch(self, spans: Sequence[Span]) -> Batch:
        """What one transaction writes, when each record of these spans has been read."""
        winners, others = reduce(self._placed)
        rejected = Counter(one.partition for one in self._rejects)
        claims = sorted((claim(span, rejected[span.partition]) for span in spans), key=attrgetter("partition"))
        return Batch(tuple(winners), tuple(others), tuple(self._rejects), tuple(claims), tuple(self._attested))


def internal_error(span: Span, error: Exception) -> Batch:
    """The batch that rejects the one record of a span, which was accepted and which this program failed to write."""
    (record,) = span.records
    return Batch((), (), (_failed(record, error, record.value),), (claim(span, 1),))


def _refused(record: Record, refused: Refused) -> Reject:
    raw = record.value if refused.impersonal else None
    return reject(record, refused.code, refused.field, refused.detail, raw)


def _failed(record: Record, error: Exception, raw: bytes | None) -> Reject:
    return reject(record, INTERNAL_ERROR, None, f"this program failed on the record: {type(error).__name__}", raw)


def notice(one: Reject, now: datetime) -> tuple[bytes, str]:
    """The value and the id of the event that tells the topic of rejects: place, reason, digest, never the content."""
    event_id = f"{one.partition}/{one.offset}"
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/aggregator",
        "type": DETAINER_REJECTED,
        "subject": event_id,
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "topic": one.partition.topic,
            "partition": one.partition.number,
            "offset": one.offset,
            "reason": one.reason,
            "field": one.field,
            "sha256": one.sha256.hex(),
        },
    }
    return msgspec.json.encode(event), event_id
