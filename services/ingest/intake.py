"""What becomes of an event at the door: a pure function of its bytes, the agency and its scope, and the instant.

An event is refused here with a receipt, or handed on with the topic, key and partition it belongs to. Whether it is a
duplicate is the aggregator's to know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.acceptance import A_NUMBER, Refused
from schemas.acceptance_fast import accept_any_fast
from schemas.attestation import Attestation
from schemas.envelope import EVENT_ID_PATTERN
from schemas.fact import Fact
from schemas.instant import microseconds
from schemas.topics import EVENT_TOPICS, WEEK_ATTESTED, partition_of
from schemas.week import NotAWeekError, ReportingCalendar
from services.ingest.receipts import Receipt
from services.runtime.agencies import Agency

CLOCK_SKEW_US = 3_600_000_000
"""How far ahead of ours an agency's clock may be: an hour, in microseconds."""
YEAR_2000_US = 946_684_800_000_000

PARTITIONS: Mapping[str, int] = {topic.name: topic.partitions for topic in EVENT_TOPICS}
"""How many partitions each topic is made with."""
_TOPICS = {kind: f"detainer-{kind}" for kind in ("issued", "declined")}


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An event to be stored: the bytes as they came, and where they go. `key` is the detainer_id, or the week."""

    line: int
    event_id: str | None
    topic: str
    partition: int
    key: bytes
    value: bytes

    def stored(self, offset: int) -> Receipt:
        """The receipt of an event that Kafka has acknowledged."""
        return Receipt(self.line, "accepted", False, self.event_id, None, None, self.topic, self.partition, offset)

    def unavailable(self) -> Receipt:
        """The receipt of an event whose fate is not known: it may still be stored."""
        detail = "not acknowledged in time; send it again, it cannot count twice"
        return Receipt(self.line, "unavailable", True, self.event_id, "not-acknowledged", detail)


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """An event that is refused, and the topic that its type names, None where the type cannot be told."""

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
    partitions: Mapping[str, int] = PARTITIONS,
) -> Judged:
    """Accept one event from `agency`, or say on a receipt why not. `now_us` is in microseconds since 1970.

    `partitions` says how many each topic has. Where a fact lies never decides whether it counts, so it may be behind.
    """
    try:
        event = accept_any_fast(value)
    except Refused as refused:
        return _rejected(line, _read(value), refused.code, refused.field, refused.detail)
    told = _read(value)
    if isinstance(event, Attestation):
        refusal = _unfit(event, agency, now_us, calendar)
        topic = WEEK_ATTESTED
    else:
        refusal = _out_of_scope(event, agency) or _out_of_time(event, now_us)
        topic = _TOPICS[event.kind]
    if refusal:
        return _rejected(line, told, *refusal)
    key = event.key.encode()
    return Accepted(line, told.id, topic, partition_of(key, partitions[topic]), key, value)


def too_long(line: int, most: int) -> Rejected:
    """What becomes of a line that was not kept to its end."""
    detail = f"an event has at most {most} bytes"
    return Rejected(Receipt(line, "rejected", False, None, "too-large", detail), None)


def _out_of_scope(fact: Fact, agency: Agency) -> tuple[str, str, str] | None:
    if fact.agency != agency.name:
        return _foreign(agency)
    if fact.kind not in agency.kinds:
        return "kind-not-allowed", "type", f"{agency.name} may not send this kind"
    if not agency.covers(fact.kind, fact.jurisdiction):
        return "jurisdiction-not-allowed", "data.jurisdiction", f"is not in the scope of {agency.name}"
    return None


def _out_of_time(fact: Fact, now_us: int) -> tuple[str, str, str] | None:
    """Dates that only a mistake can explain. Only the door looks at the clock; the log's events are judged without."""
    if fact.issued_us < YEAR_2000_US:
        return "before-2000", "data.issued_at", "must not be before the year 2000"
    latest = fact.counted_us
    if latest > now_us + CLOCK_SKEW_US:
        field = "data.issued_at" if fact.recorded_us is None else "data.recorded_at"
        return "in-the-future", field, "must not be more than an hour in the future"
    return None


def _foreign(agency: Agency) -> tuple[str, str, str]:
    return "source-not-allowed", "source", f"must be /agencies/{agency.name} with this key"


def _unfit(event: Attestation, agency: Agency, now_us: int, calendar: ReportingCalendar) -> tuple[str, str, str] | None:
    """Why this agency may not attest this week now."""
    if event.agency != agency.name:
        return _foreign(agency)
    if foreign := sorted(event.kinds - set(agency.kinds)):
        return "kind-not-allowed", f"data.counts.{foreign[0]}", f"{agency.name} may not send this kind"
    try:
        ends_at = calendar.week(event.week).ends_at
    except NotAWeekError:
        return "not-a-week", "data.week_start", f"must be a {calendar.starts_on.name.title()}, the first day of a week"
    if microseconds(ends_at) > now_us + CLOCK_SKEW_US:
        return "in-the-future", "data.week_start", "must be a week that is over"
    return None


def _rejected(line: int, told: _Envelope, code: str, field: str | None, detail: str) -> Rejected:
    event_id = told.id if _may_be_echoed(told.id) else None
    topic = told.type if isinstance(told.type, str) and told.type in PARTITIONS else None
    said = f"{field}: {detail}" if field else detail
    return Rejected(Receipt(line, "rejected", False, event_id, code, said), topic)


class _Envelope(msgspec.Struct, gc=False):
    """What is looked at for a receipt; anything, in an event that is refused."""

    id: Any = None
    type: Any = None


_decode = msgspec.json.Decoder(_Envelope).decode
_event_id = re.compile(EVENT_ID_PATTERN).fullmatch


def _read(value: bytes) -> _Envelope:
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Envelope()


def _may_be_echoed(event_id: object) -> bool:
    """Whether it is an identifier as the rules want it: what is refused may be personal."""
    return isinstance(event_id, str) and _event_id(event_id) is not None and not A_NUMBER.search(event_id)
