"""Judges one event: a pure function of its bytes, the agency with its scope, and the time.

An event is either rejected with a receipt, or accepted with the topic, key and partition to store it in. Only the
aggregator detects duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from schemas.a_number import has_a_number
from schemas.acceptance import AcceptedEvent, Refused, is_schema, schema_of
from schemas.acceptance_fast import accept_event_fast
from schemas.attestation import Attestation
from schemas.envelope import EVENT_ID_PATTERN
from schemas.fact import Fact
from schemas.instant import YEAR_2000, microseconds
from schemas.log import Partition
from schemas.topics import EVENT_TOPICS, WEEK_ATTESTED, partition_of
from schemas.week import NotAWeekError, ReportingCalendar
from services.ingest.receipts import Receipt
from services.runtime.agencies import Agency

CLOCK_SKEW_US = 3_600_000_000
"""How far an agency's clock may be ahead of this host's clock: an hour, in microseconds."""
YEAR_2000_US = microseconds(YEAR_2000)

Partitions = Mapping[str, tuple[Partition, ...]]
"""The partitions of each topic, by topic name."""


@cache
def partitions_of(topic: str, count: int) -> tuple[Partition, ...]:
    """The first `count` partitions of a topic. Cached, because a Partition takes longer to create than to look up."""
    return tuple(Partition(topic, number) for number in range(count))


PARTITIONS: Partitions = {topic.name: partitions_of(topic.name, topic.partitions) for topic in EVENT_TOPICS}
"""The initial partitions of each topic."""
_SCHEMAS = {topic.name: schema_of(topic.name) for topic in EVENT_TOPICS}
_TOPICS = {kind: f"detainer-{kind}" for kind in ("issued", "declined")}

_Refusal = tuple[str, str | None, str]
"""Code, field and detail of a refusal."""


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An event to store: its bytes as received, and its partition. `key` is the detainer_id, or the week."""

    line: int
    event_id: str
    partition: Partition
    key: bytes
    value: bytes

    @property
    def topic(self) -> str:
        """The topic of the event."""
        return self.partition.topic

    def stored(self, offset: int) -> Receipt:
        """The receipt of an event that Kafka has acknowledged."""
        topic, partition = self.partition.topic, self.partition.number
        return Receipt(self.line, "accepted", False, self.event_id, None, None, topic, partition, offset)

    def unavailable(self) -> Receipt:
        """The receipt of an event that Kafka has not acknowledged. It may still be stored."""
        detail = "not acknowledged in time; send the event again, it never counts twice"
        return Receipt(self.line, "unavailable", True, self.event_id, "not-acknowledged", detail)


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A rejected event: its receipt, and the topic of its type; None if the type is unknown."""

    receipt: Receipt
    topic: str | None


Judged = Accepted | Rejected


def judge(
    line: int,
    value: bytes,
    agency: Agency,
    now_us: int,
    calendar: ReportingCalendar,
    *,
    partitions: Partitions = PARTITIONS,
) -> Judged:
    """Accept or reject one event from `agency`. `now_us` is in microseconds since 1970, UTC.

    `partitions` may be outdated: the partition of an event never decides whether it counts.
    """
    try:
        event = accept_event_fast(value)
    except Refused as refused:
        return _refused(line, value, (refused.code, refused.field, refused.detail))
    content = event.content
    if isinstance(content, Attestation):
        topic = WEEK_ATTESTED
        refusal = _not_from_an_agency(event, topic) or _unfit(content, agency, now_us, calendar)
    else:
        topic = _TOPICS[content.kind]
        refusal = _not_from_an_agency(event, topic) or _out_of_scope(content, agency) or _out_of_time(content, now_us)
    if refusal:
        return _rejected(line, event.id, topic, refusal)
    key = content.key.encode()
    of_topic = partitions[topic]
    return Accepted(line, event.id, of_topic[partition_of(key, len(of_topic))], key, value)


def too_long(line: int, most: int) -> Rejected:
    """Reject a line that is longer than `most` bytes."""
    detail = f"an event has at most {most} bytes"
    return Rejected(Receipt(line, "rejected", False, None, "too-large", detail), None)


def _not_from_an_agency(event: AcceptedEvent, topic: str) -> _Refusal | None:
    """Refuse what an event in the log may have but an event from an agency may not."""
    if event.redriveof is not None:
        return "unexpected-field", "redriveof", "is set only by `ddor rejected redrive`"
    if event.dataschema != _SCHEMAS[topic] and not is_schema(event.dataschema, topic):
        return "unknown-schema", "dataschema", f"must be {_SCHEMAS[topic]}"
    return None


def _out_of_scope(fact: Fact, agency: Agency) -> _Refusal | None:
    if fact.agency != agency.name:
        return _foreign(agency)
    if fact.kind not in agency.kinds:
        return "kind-not-allowed", "type", f"{agency.name} may not send this kind"
    if not agency.covers(fact.kind, fact.jurisdiction):
        return "jurisdiction-not-allowed", "data.jurisdiction", f"is not in the scope of {agency.name}"
    return None


def _out_of_time(fact: Fact, now_us: int) -> _Refusal | None:
    """Refuse dates that can only be a mistake. Only ingest compares with the clock; events in the log are not."""
    if fact.issued_us < YEAR_2000_US:
        return "before-2000", "data.issued_at", "must not be before the year 2000"
    latest = fact.counted_us
    if latest > now_us + CLOCK_SKEW_US:
        field = "data.issued_at" if fact.recorded_us is None else "data.recorded_at"
        return "in-the-future", field, "must not be more than an hour in the future"
    return None


def _foreign(agency: Agency) -> _Refusal:
    return "source-not-allowed", "source", f"must be /agencies/{agency.name} with this key"


def _unfit(event: Attestation, agency: Agency, now_us: int, calendar: ReportingCalendar) -> _Refusal | None:
    """Refuse an attestation that this agency may not send, or whose week is not valid or not over."""
    if event.agency != agency.name:
        return _foreign(agency)
    if foreign := sorted(event.kinds - set(agency.kinds)):
        return "kind-not-allowed", f"data.counts.{foreign[0]}", f"{agency.name} may not send this kind"
    try:
        ends_at = calendar.week(event.week).ends_at
    except NotAWeekError:
        return "not-a-week", "data.week_start", f"must be a {calendar.starts_on.name.title()}, the first day of a week"
    if microseconds(ends_at) <= YEAR_2000_US:
        return "before-2000", "data.week_start", "must be a week of the year 2000 or later"
    if microseconds(ends_at) > now_us + CLOCK_SKEW_US:
        return "in-the-future", "data.week_start", "must be a week that is over"
    return None


def _rejected(line: int, event_id: str | None, topic: str | None, refusal: _Refusal) -> Rejected:
    code, field, rule = refusal
    detail = f"{field}: {rule}" if field else rule
    return Rejected(Receipt(line, "rejected", False, event_id, code, detail), topic)


class _Envelope(msgspec.Struct, gc=False):
    """The attributes of a refused event that are used for its receipt. They may have any type."""

    id: Any = None
    type: Any = None


_decode = msgspec.json.Decoder(_Envelope).decode
_event_id = re.compile(EVENT_ID_PATTERN).fullmatch


def _refused(line: int, value: bytes, refusal: _Refusal) -> Rejected:
    """Reject an event that acceptance refuses. Its id and type are read again, if possible."""
    try:
        envelope = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope = _Envelope()
    event_id = envelope.id if _may_be_echoed(envelope.id) else None
    topic = envelope.type if isinstance(envelope.type, str) and envelope.type in PARTITIONS else None
    return _rejected(line, event_id, topic, refusal)


def _may_be_echoed(event_id: object) -> bool:
    """Whether it is a valid event id. Any other value may be personal data."""
    return isinstance(event_id, str) and _event_id(event_id) is not None and not has_a_number(event_id)
