"""Turns the records of a batch into the rows to write, and defines what counts. Pure.

For each identity, the ledger stores the fact of the highest rank (version, fingerprint). That is a maximum over a set,
so order, duplicates and batch boundaries do not change the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import NamedTuple

import msgspec

from schemas.acceptance import Refused, accept_any, names_only_fields
from schemas.acceptance_fast import accept_fast
from schemas.attestation import Attestation
from schemas.detainer import Kind
from schemas.fact import Fact
from schemas.log import Partition, RecordAddress
from schemas.topics import DETAINER_REJECTED, WEEK_ATTESTED
from schemas.week import WeekIndex
from services.aggregator.spans import Claim, Record, Span, claim, digest

INTERNAL_ERROR = "internal_error"
"""Reason code of a reject caused by this program, not by the sender."""
NOT_A_WEEK = "not-a-week"
"""Reason code of an attestation whose date is not the first day of a week."""


@dataclass(frozen=True, slots=True)
class Reject:
    """An invalid record and the reason. `raw` is its value if it may be stored for operators, otherwise None."""

    address: RecordAddress
    reason: str
    field: str | None
    detail: str
    sha256: bytes
    raw: bytes | None


class FactRecord(msgspec.Struct, frozen=True, gc=False):
    """An accepted fact, its fingerprint, the first day of its week, and the partition number and offset of its record.

    The topic follows from the fact's kind.
    """

    fact: Fact
    fingerprint: bytes
    week: date
    partition: int
    offset: int

    @property
    def rank(self) -> tuple[int, bytes]:
        """The sort key of versions. The ledger stores the fact of the highest rank."""
        return self.fact.version, self.fingerprint


class AttestationRecord(NamedTuple):
    """An accepted attestation, and the partition number and offset of its record."""

    attestation: Attestation
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one transaction writes: winning facts, other facts, rejects, claims and attestations."""

    winners: tuple[FactRecord, ...]
    others: tuple[FactRecord, ...]
    rejects: tuple[Reject, ...]
    claims: tuple[Claim, ...]
    attestations: tuple[AttestationRecord, ...] = ()


def accept_detainers(records: Iterable[Record], weeks: WeekIndex) -> tuple[list[FactRecord], list[Reject]]:
    """Accept or reject each record. A record on which this program fails is rejected too; none is dropped."""
    accepted: list[FactRecord] = []
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
            accepted.append(FactRecord(fact, fact.fingerprint, week, record.partition, record.offset))
    return accepted, rejects


def accept_attestations(records: Iterable[Record], weeks: WeekIndex) -> tuple[list[AttestationRecord], list[Reject]]:
    """Accept or reject each record of week-attested. An attestation of no reporting week is rejected."""
    accepted: list[AttestationRecord] = []
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
            accepted.append(AttestationRecord(event, record.partition, record.offset))
    return accepted, rejects


def check_week(event: Attestation, weeks: WeekIndex) -> None:
    """Raise Refused if no week begins on the attestation's date."""
    if not weeks.begins_on(event.week):
        raise Refused(NOT_A_WEEK, "data.week_start", "must be the first day of a week")


def reject(record: Record, reason: str, field: str | None, detail: str, raw: bytes | None) -> Reject:
    """The reject of one record. `raw` is the value to store, or None."""
    return Reject(
        RecordAddress(Partition(record.topic, record.partition), record.offset),
        reason,
        field,
        detail,
        digest(record.value),
        raw,
    )


def reduce(facts: Iterable[FactRecord]) -> tuple[list[FactRecord], list[FactRecord]]:
    """The winner of each identity, and the other facts. Of equal facts, only the first is returned."""
    best: dict[tuple[Kind, str, str], FactRecord] = {}
    contested: dict[tuple[Kind, str, str], dict[tuple[int, bytes], FactRecord]] = {}
    for one in facts:
        identity = one.fact.identity
        first = best.setdefault(identity, one)
        if first is not one:
            contested.setdefault(identity, {first.rank: first}).setdefault(one.rank, one)
    others: list[FactRecord] = []
    for identity, ranked in contested.items():
        best[identity] = ranked.pop(max(ranked))
        others.extend(ranked.values())
    return list(best.values()), others


def decode(spans: Sequence[Span], weeks: WeekIndex) -> Batch:
    """Decode spans into the batch that one transaction writes."""
    decoder = BatchDecoder(weeks)
    for span in spans:
        decoder.add(span.partition.topic, span.records)
    return decoder.batch(spans)


class BatchDecoder:
    """Decodes the records of one batch in several steps."""

    def __init__(self, weeks: WeekIndex) -> None:
        self._weeks = weeks
        self._facts: list[FactRecord] = []
        self._attestations: list[AttestationRecord] = []
        self._rejects: list[Reject] = []

    def add(self, topic: str, records: Iterable[Record]) -> None:
        """Accept or reject each of these records of one topic."""
        if topic == WEEK_ATTESTED:
            attestations, rejects = accept_attestations(records, self._weeks)
            self._attestations += attestations
        else:
            facts, rejects = accept_detainers(records, self._weeks)
            self._facts += facts
        self._rejects += rejects

    def batch(self, spans: Sequence[Span]) -> Batch:
        """The batch of these spans. Call it after `add` has received each of their records."""
        winners, others = reduce(self._facts)
        rejected = Counter(one.address.partition for one in self._rejects)
        claims = sorted((claim(span, rejected[span.partition]) for span in spans), key=attrgetter("partition"))
        return Batch(tuple(winners), tuple(others), tuple(self._rejects), tuple(claims), tuple(self._attestations))


def internal_error(span: Span, error: Exception) -> Batch:
    """The batch that rejects the only record of a span, after this program failed to write it."""
    (record,) = span.records
    return Batch((), (), (_failed(record, error, _without_opaque_text(record.value)),), (claim(span, 1),))


def _refused(record: Record, refused: Refused) -> Reject:
    raw = record.value if refused.impersonal else None
    if refused.code == NOT_A_WEEK:
        raw = _without_opaque_text(record.value)
    return reject(record, refused.code, refused.field, refused.detail, raw)


def _without_opaque_text(value: bytes | None) -> bytes | None:
    """The value of a valid event if it may be stored with its reject, otherwise None."""
    return value if value is not None and names_only_fields(value) else None


def _failed(record: Record, error: Exception, raw: bytes | None) -> Reject:
    return reject(
        record, INTERNAL_ERROR, None, f"internal error while processing the record: {type(error).__name__}", raw
    )


def notice(one: Reject, now: datetime) -> tuple[bytes, str]:
    """Value and id of the detainer-rejected event: address, reason and digest of the record, never its content."""
    event_id, partition = str(one.address), one.address.partition
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/aggregator",
        "type": DETAINER_REJECTED,
        "subject": event_id,
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "topic": partition.topic,
            "partition": partition.number,
            "offset": one.address.offset,
            "reason": one.reason,
            "field": one.field,
            "sha256": one.sha256.hex(),
        },
    }
    return msgspec.json.encode(event), event_id
