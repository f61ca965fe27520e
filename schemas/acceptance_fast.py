"""Fast acceptance for hot paths: the same results as `acceptance.accept`, several times faster.

It decodes the common form of an event with msgspec and checks each field with a set, a pattern or a comparison. Every
other event (an escape, a character outside ASCII, an instant in another notation, any broken rule) falls back to
`accept`. The only invariant: if this path accepts an event, `accept` accepts it as the same fact. A test compares the
two over a generated corpus.

msgspec ignores duplicate members. They are detected by counting quotation marks: without escapes, a document has
exactly two for each member's name and each string, and a duplicate member adds more.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from schemas import taxonomy
from schemas.a_number import has_a_number
from schemas.acceptance import MAX_EVENT_BYTES, AcceptedEvent, accept, accept_event, schema_of
from schemas.attestation import Attestation
from schemas.detainer import MAX_OFFENSES, MAX_VERSION, Kind
from schemas.envelope import AGENCY_PATTERN, EVENT_ID_PATTERN, FACILITY_PATTERN, URI_PATTERN
from schemas.fact import Fact, Offenses, normalize
from schemas.instant_fast import in_microseconds
from schemas.jurisdiction import Operator, registry
from schemas.tracing import is_traceparent, is_tracestate


class _Offense(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    category: str
    basis: str


class _Data(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    detainer_id: str
    version: int
    jurisdiction: str
    operator: str
    issued_at: str
    declined_at: str | UnsetType = UNSET
    recorded_at: str | UnsetType = UNSET
    form: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    citizenship: str | UnsetType = UNSET
    offenses: msgspec.Raw = msgspec.Raw()
    location: str | UnsetType = UNSET
    facility: str | UnsetType = UNSET
    withdrawn: bool | UnsetType = UNSET
    withdrawn_reason: str | UnsetType = UNSET


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    dataschema: str
    data: _Data
    datacontenttype: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Event).decode
_decode_offenses = msgspec.json.Decoder(list[_Offense]).decode
_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_event_id = re.compile(EVENT_ID_PATTERN).fullmatch
_uri = re.compile(URI_PATTERN).fullmatch
_facility = re.compile(FACILITY_PATTERN).fullmatch
_source = re.compile(f"/agencies/({AGENCY_PATTERN})").fullmatch

_JSON_TYPES: Final = {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}
"""The common spellings."""
_KINDS: Final = {"detainer-issued": Kind.ISSUED, "detainer-declined": Kind.DECLINED}
_SCHEMAS: Final = {kind: schema_of(event_type) for event_type, kind in _KINDS.items()}
_FITTING: Final = {
    (operator.value, entry.code)
    for entry in registry()
    for operator in Operator
    if registry().fits(operator, entry.code)
}
_COUNTIES: Final = {code for operator, code in _FITTING if operator == Operator.COUNTY}
_FORMS: Final = frozenset(taxonomy.forms())
_REASONS: Final = frozenset(taxonomy.reasons())
_COUNTRIES: Final = frozenset(taxonomy.countries())
_OFFENSES: Final = {(code, basis) for code in taxonomy.offenses() for basis in ("charged", "convicted")}
_KNOWN_LIMIT: Final = 4_096
_agencies: dict[str, str] = {}
_schemas: set[str] = set()
_facilities: set[str] = set()
_lists: dict[bytes, tuple[Offenses, int]] = {}

_MARKS: Final = 2 * (9 + 8 + 5 + 4)
"""Quotation marks of the smallest event: names and strings of the envelope, then names and strings of the data."""
_MEMBER: Final = 4
"""Quotation marks of a member whose value is a string."""
_OFFENSE: Final = 8
"""Quotation marks of one offense in the list."""


class _Unsure(Exception):  # noqa: N818  # not an error: the slower path decides
    """The event is not in the common form."""


_NOT_PLAIN: Final = (_Unsure, msgspec.DecodeError, ValueError, RecursionError)
"""RecursionError: msgspec parses the value of `offenses`, which may be nested deeply, before it is checked."""


def accept_fast(value: bytes | None, topic: str | None = None) -> Fact:
    """Like `acceptance.accept`. Raises Refused."""
    try:
        return _plain(value, topic)[0]
    except _NOT_PLAIN:
        pass
    return accept(value, topic)


def accept_any_fast(value: bytes) -> Fact | Attestation:
    """Like `acceptance.accept_any`. Raises Refused. Attestations are rare and always take the slower path."""
    return accept_event_fast(value).content


def accept_event_fast(value: bytes) -> AcceptedEvent:
    """Like `acceptance.accept_event`. Raises Refused. The fast path takes only events without `redriveof`."""
    try:
        fact, event = _plain(value, None)
        return AcceptedEvent(fact, event.id, event.dataschema, None)
    except _NOT_PLAIN:
        pass
    return accept_event(value)


def _plain(value: bytes | None, topic: str | None) -> tuple[Fact, _Event]:
    if value is None or len(value) > MAX_EVENT_BYTES or not value.isascii() or b"\\" in value:
        raise _Unsure
    event = _decode(value)
    data = event.data
    kind = _KINDS.get(event.type)
    detainer_id = data.detainer_id
    if (
        kind is None
        or (topic is not None and topic != event.type)
        or event.specversion != "1.0"
        or event.subject != detainer_id
        or not _uuid(detainer_id)
        or not 1 <= data.version <= MAX_VERSION
        or (data.operator, data.jurisdiction) not in _FITTING
        or data.withdrawn is True
        or data.withdrawn_reason is not UNSET
    ):
        raise _Unsure
    _check_id(event.id)
    in_microseconds(event.time)
    issued = in_microseconds(data.issued_at)
    declined, recorded = _decline_instants(kind, data, issued)
    marks = _MARKS + _optional(data)
    if event.datacontenttype != "application/json" or event.traceparent is not UNSET or event.tracestate is not UNSET:
        marks += _attributes(event)
    offenses: Offenses | None = None
    if listed := bytes(data.offenses):
        offenses, more = _lists.get(listed) or _read_offenses(listed)
        marks += more
    if value.count(b'"') != (marks + 2 * _MEMBER if kind is Kind.DECLINED else marks):
        raise _Unsure
    agency = _agencies.get(event.source) or _agency(event.source)
    if event.dataschema != _SCHEMAS[kind] and event.dataschema not in _schemas:
        _check_schema(event.dataschema)
    fact = Fact(
        kind,
        agency,
        detainer_id,
        data.version,
        False,
        None,
        data.jurisdiction,
        data.operator,
        data.location or None,
        data.facility or None,
        issued,
        declined,
        recorded,
        data.form or None,
        data.reason or None,
        data.citizenship or None,
        offenses,
    )
    return fact, event


def _decline_instants(kind: Kind, data: _Data, issued: int) -> tuple[int | None, int | None]:
    if kind is Kind.ISSUED:
        if data.declined_at is not UNSET or data.recorded_at is not UNSET or data.reason is not UNSET:
            raise _Unsure
        return None, None
    if data.declined_at is UNSET or data.recorded_at is UNSET:
        raise _Unsure
    declined = in_microseconds(data.declined_at)
    recorded = declined if data.recorded_at == data.declined_at else in_microseconds(data.recorded_at)
    if not issued <= declined <= recorded:
        raise _Unsure
    return declined, recorded


def _read_offenses(listed: bytes) -> tuple[Offenses, int]:
    """The offenses of a list that is not in the cache, and its quotation marks. The cache is bounded."""
    pairs = [(one.category, one.basis) for one in _decode_offenses(listed)]
    marks = _OFFENSE * len(pairs)
    if len(pairs) > MAX_OFFENSES or not _OFFENSES.issuperset(pairs) or listed.count(b'"') != marks:
        raise _Unsure
    if len(_lists) >= _KNOWN_LIMIT:
        _lists.clear()
    return _lists.setdefault(listed, (normalize(pairs), marks + 2))


def _attributes(event: _Event) -> int:
    """Check the optional attributes. Returns the difference in quotation marks from the common form."""
    marks = 0
    if event.datacontenttype is UNSET:
        marks -= _MEMBER
    elif event.datacontenttype not in _JSON_TYPES:
        raise _Unsure
    if event.traceparent is not UNSET:
        if not is_traceparent(event.traceparent):
            raise _Unsure
        marks += _MEMBER
    if (state := event.tracestate) is not UNSET:
        if not is_tracestate(state) or has_a_number(state):
            raise _Unsure
        marks += _MEMBER
    return marks


def _optional(data: _Data) -> int:
    """Check the optional fields of the data. Returns their quotation marks."""
    marks = 0
    if (form := data.form) is not UNSET:
        if form not in _FORMS:
            raise _Unsure
        marks += _MEMBER
    if (citizenship := data.citizenship) is not UNSET:
        if citizenship not in _COUNTRIES:
            raise _Unsure
        marks += _MEMBER
    if (reason := data.reason) is not UNSET:
        if reason not in _REASONS:
            raise _Unsure
        marks += _MEMBER
    if (location := data.location) is not UNSET:
        if location not in _COUNTIES:
            raise _Unsure
        marks += _MEMBER
    if (facility := data.facility) is not UNSET:
        if facility not in _facilities:
            _check_facility(facility)
        marks += _MEMBER
    if data.withdrawn is not UNSET:
        marks += 2
    return marks


def _check_id(event_id: str) -> None:
    if not _uuid(event_id) and (not _event_id(event_id) or has_a_number(event_id)):
        raise _Unsure


def _agency(source: str) -> str:
    """The agency of a source that is not in the cache. The cache is bounded, because sources come from outside."""
    match = _source(source)
    if match is None or has_a_number(source):
        raise _Unsure
    if len(_agencies) >= _KNOWN_LIMIT:
        _agencies.clear()
    return _agencies.setdefault(source, match[1])


def _check_schema(address: str) -> None:
    if "/schemas/" in address or not _uri(address) or has_a_number(address):
        raise _Unsure
    if len(_schemas) >= _KNOWN_LIMIT:
        _schemas.clear()
    _schemas.add(address)


def _check_facility(code: str) -> None:
    if not _facility(code) or has_a_number(code):
        raise _Unsure
    if len(_facilities) >= _KNOWN_LIMIT:
        _facilities.clear()
    _facilities.add(code)
