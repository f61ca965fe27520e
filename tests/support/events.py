"""Valid events: by hand, and Hypothesis strategies that make versions, withdrawals, moves and conflicts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from schemas.topics import CONTENT_TYPE
from tests.support.agencies import LAS_VEGAS, NEW_YORK
from tests.support.kafka_log import Message

CLARK, NASSAU = "32003", "36059"
MONDAY = "2017-01-30T12:00:00-05:00"
HEADERS = [("content-type", CONTENT_TYPE.encode())]

Document = dict[str, Any]


def detainer_id(number: int) -> str:
    """A UUID for a small number."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def issued(number: int = 1, **changes: Any) -> Document:
    """`data` of an issued detainer. None removes a field."""
    data = {
        "detainer_id": detainer_id(number),
        "version": 1,
        "jurisdiction": CLARK,
        "operator": "county",
        "issued_at": MONDAY,
    }
    return _changed(data, changes)


def declined(number: int = 1, **changes: Any) -> Document:
    """`data` of a declined detainer. None removes a field."""
    return issued(number, declined_at=MONDAY, recorded_at=MONDAY) | changes


def envelope(kind: str, data: Document, *, agency: str = LAS_VEGAS, **changes: Any) -> Document:
    """A CloudEvent around `data`. None removes an attribute."""
    attributes = {
        "specversion": "1.0",
        "id": "event-1",
        "source": f"/agencies/{agency}",
        "type": f"detainer-{kind}",
        "subject": data.get("detainer_id"),
        "time": MONDAY,
        "dataschema": f"/schemas/detainer-{kind}/1",
        "datacontenttype": "application/json",
        "data": data,
    }
    return _changed(attributes, changes)


def encoded(document: Document) -> bytes:
    """A document's bytes."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def message(kind: str, data: Document, *, agency: str = LAS_VEGAS) -> Message:
    """A record as ingest would write it."""
    value = encoded(envelope(kind, data, agency=agency))
    return Message(f"detainer-{kind}", value, data["detainer_id"].lower().encode(), headers=HEADERS)


def mixed(numbers: Iterable[int]) -> list[Message]:
    """For each detainer an issued event, and among them declines, moves, withdrawals and repetitions."""
    messages = []
    for number in numbers:
        messages.append(message("issued", issued(number)))
        if number % 3 == 0:
            messages.append(message("declined", declined(number, reason="policy")))
        if number % 5 == 0:
            messages.append(message("issued", issued(number, version=2, jurisdiction="32031")))
        if number % 7 == 0:
            messages.append(
                message("issued", issued(number, version=3, withdrawn=True, withdrawn_reason="wrong-person"))
            )
            messages.append(messages[-1])
    return messages


def attested(week: str = "2017-01-28", version: int = 1, **counts: int) -> Document:
    """`data` of an attestation."""
    return {"week_start": week, "version": version, "counts": counts}


def attesting(data: Document, *, agency: str = LAS_VEGAS) -> Message:
    """A record of an attestation as ingest would write it."""
    changes = {"type": "week-attested", "subject": data["week_start"], "dataschema": "/schemas/week-attested/1"}
    value = encoded(envelope("issued", data, agency=agency, **changes))
    return Message("week-attested", value, data["week_start"].encode(), headers=HEADERS)


def _changed(document: Document, changes: Document) -> Document:
    return {name: value for name, value in (document | changes).items() if value is not None}


# Few values, so that versions, conflicts and counters collide.
_IDENTITIES = [detainer_id(number) for number in range(4)]
_JURISDICTIONS = [
    (CLARK, "county"),
    (NASSAU, "county"),
    (NASSAU, "city"),
    ("32", "state"),
    ("US", "federal"),
    ("2430", "tribal"),
]
_BEGINS = datetime(2017, 1, 28, 5, tzinfo=UTC)
_INSTANTS = [
    _BEGINS - timedelta(microseconds=1),
    _BEGINS,
    _BEGINS + timedelta(days=3),
    _BEGINS + timedelta(days=7) - timedelta(microseconds=1),
    _BEGINS + timedelta(days=7),
    datetime(2017, 3, 11, 5, tzinfo=UTC),  # a week of 167 hours begins
    datetime(2017, 3, 18, 4, tzinfo=UTC) - timedelta(seconds=1),
    datetime(2017, 11, 11, 5, tzinfo=UTC) - timedelta(seconds=1),  # a week of 169 hours ends
    datetime(2031, 6, 1, tzinfo=UTC),
]
_OFFENSES = [{"category": code, "basis": basis} for code in ("90D", "13A", "09A") for basis in ("charged", "convicted")]


@st.composite
def facts(draw: st.DrawFn, identity: tuple[str, str, str] | None = None) -> tuple[str, str, Document]:
    """Kind, agency and `data` of one fact, optionally with a fixed kind, agency and detainer."""
    kind, agency, detainer = identity or (
        draw(st.sampled_from(["issued", "declined"])),
        draw(st.sampled_from([LAS_VEGAS, NEW_YORK])),
        draw(st.sampled_from(_IDENTITIES)),
    )
    jurisdiction, operator = draw(st.sampled_from(_JURISDICTIONS))
    data: Document = {
        "detainer_id": detainer,
        "version": draw(st.integers(1, 3)),
        "jurisdiction": jurisdiction,
        "operator": operator,
        "issued_at": draw(st.sampled_from(_INSTANTS)),
    }
    if draw(st.integers(0, 3)) == 0:
        data |= {"withdrawn": True, "withdrawn_reason": draw(st.sampled_from(["entered-in-error", "wrong-person"]))}
    if kind == "declined":
        data["declined_at"] = max(data["issued_at"], draw(st.sampled_from(_INSTANTS)))
        data["recorded_at"] = max(data["declined_at"], draw(st.sampled_from(_INSTANTS)))
        data |= draw(st.sampled_from([{}, {"reason": "policy"}, {"reason": "not-stated"}]))
    data |= draw(st.sampled_from([{}, {"form": "I-247D"}, {"form": "I-247N"}]))
    data |= draw(st.sampled_from([{}, {"citizenship": "MEX"}]))
    if draw(st.booleans()):
        data["offenses"] = draw(st.lists(st.sampled_from(_OFFENSES), max_size=3))
    return kind, agency, data


@st.composite
def retellings(draw: st.DrawFn, kind: str, agency: str, data: Document) -> Message:
    """A record of this fact with another event id, time, key order, UTC offsets or letter case."""
    members = dict(data)
    if draw(st.booleans()):
        members["detainer_id"] = members["detainer_id"].upper()
    if draw(st.booleans()):
        members.setdefault("withdrawn", False)
    if "offenses" in members:
        again = st.sampled_from(members["offenses"]) if members["offenses"] else st.nothing()
        repeated = [*members["offenses"], *draw(st.lists(again, max_size=1))] if members["offenses"] else []
        members["offenses"] = draw(st.permutations(repeated))
    zone = draw(st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=30))]))
    for name in ("issued_at", "declined_at", "recorded_at"):
        if name in members:
            members[name] = members[name].astimezone(zone).isoformat()
    document = envelope(
        kind,
        dict(draw(st.permutations(list(members.items())))),
        agency=agency,
        id=draw(st.sampled_from(["first", "again", "retry-3"])),
        time=draw(st.sampled_from([MONDAY, "2031-01-01T00:00:00Z"])),
    )
    value = encoded(dict(draw(st.permutations(list(document.items())))))
    return Message(f"detainer-{kind}", value, data["detainer_id"].encode())


@st.composite
def attestations(draw: st.DrawFn) -> Message:
    """A record of an attestation. Few weeks and versions, so that they collide."""
    counts = draw(st.dictionaries(st.sampled_from(["issued", "declined"]), st.integers(0, 2)))
    data = attested(draw(st.sampled_from(["2017-01-28", "2017-02-04"])), draw(st.integers(1, 3)), **counts)
    return attesting(data, agency=draw(st.sampled_from([LAS_VEGAS, NEW_YORK])))


NO_EVENTS = (b"", b"not json", b"[]", b'{"a":1,"a":2}', b'{"specversion":"1.0"}', b"\xff\xfe", None)


@st.composite
def records(draw: st.DrawFn, max_facts: int = 8, max_records: int = 24) -> Sequence[Message]:
    """A multiset of records: facts, corrections, duplicates, attestations and invalid records."""
    known = draw(st.lists(facts(), min_size=1, max_size=max_facts // 2))
    corrected = draw(st.lists(st.sampled_from(known), min_size=1, max_size=max_facts - len(known)))
    known += [draw(facts((kind, agency, data["detainer_id"]))) for kind, agency, data in corrected]
    messages = [draw(retellings(*fact)) for fact in known]
    again = draw(st.lists(st.sampled_from(known), max_size=max_records - max_facts))
    messages += [draw(retellings(*fact)) for fact in again]
    messages += draw(st.lists(attestations(), max_size=5))
    junk = draw(st.lists(st.sampled_from(NO_EVENTS), max_size=3))
    messages += [Message("detainer-declined", value, partition=draw(st.integers(0, 2))) for value in junk]
    messages += [Message("week-attested", value) for value in draw(st.lists(st.sampled_from(NO_EVENTS), max_size=1))]
    return messages
