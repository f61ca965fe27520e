"""schemas.acceptance: what is refused, with which code and field, and that no refusal tells what was sent."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.acceptance import MAX_EVENT_BYTES, Refused, accept
from schemas.detainer import Kind
from schemas.instant import instant, microseconds
from tests.unit.sample_events import Document, changed, encoded, event, fact, quick, refusal

ISSUED, DECLINED = event("issued"), event("declined")


def raw(name: str, value: str) -> bytes:
    """An issued event in which a member of the data is this JSON text."""
    marker = "in its place"
    return encoded(changed(ISSUED, f"data.{name}", marker)).replace(json.dumps(marker).encode(), value.encode())


def twice(path: str) -> bytes:
    """An issued event in which one member, at a dotted path, appears a second time in its object."""
    *parents, last = path.split(".")
    place: Any = ISSUED
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    member = f"{json.dumps(last)}: {json.dumps(place[last])}"
    text = json.dumps(ISSUED)
    assert text.count(member) == 1
    return text.replace(member, f"{member}, {member}").encode()


BYTES: dict[str, tuple[bytes | None, str, str | None]] = {
    "null value": (None, "no-value", None),
    "empty": (b"", "not-json", None),
    "blank": (b"  \n", "not-json", None),
    "not JSON": (b"detainer", "not-json", None),
    "JSON null": (b"null", "not-json", None),
    "an array": (b"[]", "not-json", None),
    "a string": (b'"x"', "not-json", None),
    "a number": (b"1", "not-json", None),
    "cut off": (encoded(ISSUED)[:-1], "not-json", None),
    "two objects": (encoded(ISSUED) * 2, "not-json", None),
    "trailing comma": (encoded(ISSUED)[:-1] + b",}", "not-json", None),
    "raw line break in a string": (encoded(ISSUED).replace(b"example/", b"example\n"), "not-json", None),
    "byte order mark": (b"\xef\xbb\xbf" + encoded(ISSUED), "not-json", None),
    "UTF-16": (json.dumps(ISSUED).encode("utf-16"), "not-utf8", None),
    "UTF-16 without a mark": (json.dumps(ISSUED).encode("utf-16-le"), "not-json", None),
    "broken UTF-8": (encoded(ISSUED).replace(b"MEX", b"M\xffX"), "not-utf8", None),
    "overlong UTF-8": (encoded(ISSUED).replace(b"MEX", b"\xc1\x81MEX"), "not-utf8", None),
    "encoded surrogate": (encoded(ISSUED).replace(b"MEX", b"\xed\xa0\x80"), "not-utf8", None),
    "two megabytes": (encoded(ISSUED) + b" " * 2_000_000, "too-large", None),
    "a byte too much": (encoded(ISSUED).ljust(MAX_EVENT_BYTES + 1), "too-large", None),
    "deep arrays": (b"[" * 8_000 + b"]" * 8_000, "not-json", None),
    "deeper than any event": (raw("offenses", "[" * 100 + "]" * 100), "not-json", None),
    "deeply nested objects": (raw("x", '{"x":' * 100 + "1" + "}" * 100), "not-json", None),
    "an integer of 5,000 digits": (raw("version", "9" * 5_000), "not-json", None),
    "NaN": (raw("version", "NaN"), "not-a-number", None),
    "Infinity": (raw("version", "Infinity"), "not-a-number", None),
    "minus Infinity": (raw("version", "-Infinity"), "not-a-number", None),
    "duplicate key in the envelope": (twice("type"), "duplicate-key", "type"),
    "duplicate key in the data": (twice("data.jurisdiction"), "duplicate-key", "jurisdiction"),
    "duplicate key in an offense": (twice("data.offenses.1.basis"), "duplicate-key", "basis"),
    "duplicate key with a name of its own": (
        b'{"J. Doe": 1, "J. Doe": 2}',
        "duplicate-key",
        "(a name of 6 characters)",
    ),
}

ANYWHERE: dict[str, tuple[str, object, str, str | None]] = {
    # Envelope
    "no type": ("type", ..., "missing-field", "type"),
    "unknown type": ("type", "detainer-lifted", "unknown-type", "type"),
    "type of another kind of value": ("type", ["detainer-issued"], "unknown-type", "type"),
    "lone surrogate as type": ("type", "\ud800", "unknown-type", "type"),
    "another CloudEvents version": ("specversion", "0.3", "unknown-code", "specversion"),
    "no id": ("id", ..., "missing-field", "id"),
    "empty id": ("id", "", "bad-format", "id"),
    "id with a space": ("id", "J Doe", "bad-format", "id"),
    "id with a letter of another script": ("id", "évènement", "bad-format", "id"),
    "id too long": ("id", "x" * 129, "bad-format", "id"),
    "lone surrogate in the id": ("id", "\udfff", "wrong-type", "id"),
    "source of no agency": ("source", "/agencies/", "bad-format", "source"),
    "source in upper case": ("source", "/agencies/ICE", "bad-format", "source"),
    "source of another kind": ("source", "https://example.org", "bad-format", "source"),
    "subject of another detainer": (
        "subject", "00000000-0000-4000-8000-000000000000", "subject-mismatch", "subject"
    ),
    "subject that is no UUID": ("subject", "x", "bad-format", "subject"),
    "time without an offset": ("time", "2017-02-01T15:00:00", "naive-timestamp", "time"),
    "no time": ("time", ..., "missing-field", "time"),
    "no dataschema": ("dataschema", ..., "missing-field", "dataschema"),
    "dataschema with a space": ("dataschema", "/schemas/J Doe", "bad-format", "dataschema"),
    "another content type": ("datacontenttype", "text/plain", "unknown-code", "datacontenttype"),
    "unknown extension": ("traceparent", "00", "unknown-field", "traceparent"),
    "data in base 64": ("data_base64", "e30=", "unknown-field", "data_base64"),
    "malformed redriveof": ("redriveof", "topic/1", "bad-format", "redriveof"),
    "no data": ("data", ..., "missing-field", "data"),
    "data null": ("data", None, "wrong-type", "data"),
    "data as text": ("data", "{}", "wrong-type", "data"),
    # Identity and version
    "no detainer_id": ("data.detainer_id", ..., "missing-field", "data.detainer_id"),
    "detainer_id null": ("data.detainer_id", None, "wrong-type", "data.detainer_id"),
    "detainer_id in braces": (
        "data.detainer_id", "{3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f}", "bad-format", "data.detainer_id"
    ),
    "detainer_id without hyphens": (
        "data.detainer_id", "3f0c1d2e6a7b4c8d9e0f1a2b3c4d5e6f", "bad-format", "data.detainer_id"
    ),
    "no version": ("data.version", ..., "missing-field", "data.version"),
    "version 0": ("data.version", 0, "out-of-range", "data.version"),
    "version below 0": ("data.version", -1, "out-of-range", "data.version"),
    "version 2^53": ("data.version", 2**53, "out-of-range", "data.version"),
    "version of 40 digits": ("data.version", 10**40, "out-of-range", "data.version"),
    "version as a float": ("data.version", 1.0, "wrong-type", "data.version"),
    "version true": ("data.version", True, "wrong-type", "data.version"),
    "version as text": ("data.version", "1", "wrong-type", "data.version"),
    "version null": ("data.version", None, "wrong-type", "data.version"),
    # Withdrawal
    "withdrawn as text": ("data.withdrawn", "true", "wrong-type", "data.withdrawn"),
    "withdrawn as a number": ("data.withdrawn", 1, "wrong-type", "data.withdrawn"),
    "withdrawn null": ("data.withdrawn", None, "wrong-type", "data.withdrawn"),
    "withdrawn without a reason": ("data.withdrawn", True, "missing-field", "data.withdrawn_reason"),
    "a reason to withdraw what is not withdrawn": (
        "data.withdrawn_reason", "entered-in-error", "unexpected-field", "data.withdrawn_reason"
    ),
    "unknown reason to withdraw": ("data.withdrawn_reason", "mistake", "unknown-code", "data.withdrawn_reason"),
    # Place
    "no jurisdiction": ("data.jurisdiction", ..., "missing-field", "data.jurisdiction"),
    "jurisdiction by name": ("data.jurisdiction", "Clark County", "bad-format", "data.jurisdiction"),
    "jurisdiction as a number": ("data.jurisdiction", 32003, "wrong-type", "data.jurisdiction"),
    "jurisdiction of three digits": ("data.jurisdiction", "320", "bad-format", "data.jurisdiction"),
    "jurisdiction in other digits": ("data.jurisdiction", "٣٢٠٠٣", "bad-format", "data.jurisdiction"),
    "unknown county": ("data.jurisdiction", "32999", "unknown-jurisdiction", "data.jurisdiction"),
    "unknown state": ("data.jurisdiction", "99", "unknown-jurisdiction", "data.jurisdiction"),
    "a county's jail answered by a state": ("data.jurisdiction", "32", "operator-misfit", "data.operator"),
    "a county operated by a state": ("data.operator", "state", "operator-misfit", "data.operator"),
    "unknown operator": ("data.operator", "private", "unknown-code", "data.operator"),
    "location that is a state": ("data.location", "32", "bad-format", "data.location"),
    "unknown location": ("data.location", "32999", "unknown-jurisdiction", "data.location"),
    "facility by name": ("data.facility", "County Jail", "bad-format", "data.facility"),
    "facility of one letter": ("data.facility", "C", "bad-format", "data.facility"),
    # Instants
    "no issued_at": ("data.issued_at", ..., "missing-field", "data.issued_at"),
    "naive timestamp": ("data.issued_at", "2017-01-30T09:15:00", "naive-timestamp", "data.issued_at"),
    "naive with a blank": ("data.issued_at", "2017-01-30 09:15:00", "naive-timestamp", "data.issued_at"),
    "a date alone": ("data.issued_at", "2017-01-30", "naive-timestamp", "data.issued_at"),
    "a number of seconds": ("data.issued_at", 1485767700, "wrong-type", "data.issued_at"),
    "a zone by name": ("data.issued_at", "2017-01-30T09:15:00 PST", "bad-timestamp", "data.issued_at"),
    "a day that does not exist": ("data.issued_at", "2017-02-29T09:15:00Z", "bad-timestamp", "data.issued_at"),
    "hour 24": ("data.issued_at", "2017-01-30T24:00:00Z", "bad-timestamp", "data.issued_at"),
    "leap second": ("data.issued_at", "2016-12-31T23:59:60Z", "bad-timestamp", "data.issued_at"),
    "offset of 24 hours": ("data.issued_at", "2017-01-30T09:15:00+24:00", "bad-timestamp", "data.issued_at"),
    "offset of 99 minutes": ("data.issued_at", "2017-01-30T09:15:00+05:99", "bad-timestamp", "data.issued_at"),
    "year 0": ("data.issued_at", "0000-01-30T09:15:00Z", "bad-timestamp", "data.issued_at"),
    "year 1": ("data.issued_at", "0001-01-01T00:00:00+14:00", "bad-timestamp", "data.issued_at"),
    "year 1899": ("data.issued_at", "1899-12-31T23:59:59Z", "bad-timestamp", "data.issued_at"),
    "year 2200": ("data.issued_at", "2200-01-01T00:00:00Z", "bad-timestamp", "data.issued_at"),
    "year 9999": ("data.issued_at", "9999-12-31T23:59:59-14:00", "bad-timestamp", "data.issued_at"),
    # Codes
    "form by name": ("data.form", "Form I-247", "unknown-code", "data.form"),
    "form in lower case": ("data.form", "i-247d", "unknown-code", "data.form"),
    "citizenship of two letters": ("data.citizenship", "MX", "unknown-code", "data.citizenship"),
    "citizenship in lower case": ("data.citizenship", "mex", "unknown-code", "data.citizenship"),
    "lone surrogate as citizenship": ("data.citizenship", "\ud800", "unknown-code", "data.citizenship"),
    "offenses as text": ("data.offenses", "90D", "wrong-type", "data.offenses"),
    "offenses as an object": ("data.offenses", {}, "wrong-type", "data.offenses"),
    "an offense as text": ("data.offenses", ["90D"], "wrong-type", "data.offenses.0"),
    "offense by NCIC code": ("data.offenses.0.category", "5404", "unknown-code", "data.offenses.0.category"),
    "unknown basis": ("data.offenses.1.basis", "suspected", "unknown-code", "data.offenses.1.basis"),
    "no basis": ("data.offenses.0.basis", ..., "missing-field", "data.offenses.0.basis"),
    "33 offenses": (
        "data.offenses", [{"category": "90D", "basis": "charged"}] * 33, "out-of-range", "data.offenses"
    ),
    # Fields that have no business here
    "a name": ("data.name", "Doe", "unknown-field", "data.name"),
    "a field of a decline in an issued": ("data.reason", "policy", "unknown-field", "data.reason"),
    "unknown field of an offense": ("data.offenses.0.note", "x", "unknown-field", "data.offenses.0.note"),
    "a name as a field's name": ("data.Jane Doe", 1, "unknown-field", "data.(a name of 8 characters)"),
    "a name as an extension's name": ("Jane Doe", 1, "unknown-field", "(a name of 8 characters)"),
    "an A-number as a field's name": ("data.A012345678", 1, "a-number", "data"),
    "an A-number within a field's name": ("data.see A012345678", 1, "a-number", "data"),
    "an A-number as an extension's name": ("012345678", 1, "a-number", None),
    "a control character in a field's name": ("data.a\tb", 1, "control-character", "data"),
    "NUL": ("data.facility", "CC\x00DC", "control-character", "data.facility"),
    "delete": ("id", "x\x7f", "control-character", "id"),
    "line break at the end": ("data.issued_at", "2017-01-30T09:15:00Z\n", "control-character", "data.issued_at"),
}  # fmt: skip


def altered(document: Document, path: str, value: object) -> bytes:
    return encoded(changed(document, path) if value is ... else changed(document, path, value))


@pytest.mark.parametrize(("value", "code", "field"), BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_event_are_refused(value: bytes | None, code: str, field: str | None) -> None:
    refused = refusal(value)
    assert (refused.code, refused.field) == (code, field)


@pytest.mark.parametrize(("path", "value", "code", "field"), ANYWHERE.values(), ids=ANYWHERE)
def test_a_broken_rule_is_named_by_code_and_field(path: str, value: object, code: str, field: str | None) -> None:
    refused = refusal(altered(ISSUED, path, value))
    assert (refused.code, refused.field) == (code, field)


@pytest.mark.parametrize(
    ("path", "value", "code", "field"),
    [
        ("data.declined_at", ..., "missing-field", "data.declined_at"),
        ("data.recorded_at", ..., "missing-field", "data.recorded_at"),
        ("data.recorded_at", None, "wrong-type", "data.recorded_at"),
        ("data.reason", "sanctuary", "unknown-code", "data.reason"),
        ("data.declined_at", "2016-11-02T13:59:59Z", "order-of-instants", "data.declined_at"),
        ("data.recorded_at", "2017-01-29T12:59:59.999999Z", "order-of-instants", "data.recorded_at"),
    ],
)
def test_a_decline_has_rules_of_its_own(path: str, value: object, code: str, field: str) -> None:
    refused = refusal(altered(DECLINED, path, value))
    assert (refused.code, refused.field) == (code, field)


def test_issued_declined_and_recorded_may_be_one_instant() -> None:
    at = "2017-01-29T12:00:00Z"
    one = fact("declined", issued_at=at, declined_at=at, recorded_at=at)
    assert one.issued_us == one.declined_us == one.recorded_us == microseconds(datetime(2017, 1, 29, 12, tzinfo=UTC))


@pytest.mark.parametrize(("kind", "topic"), [("issued", "detainer-declined"), ("declined", "detainer-issued")])
def test_an_event_in_the_other_kinds_topic_is_refused(kind: str, topic: str) -> None:
    refused = refusal(encoded(event(kind)), topic)
    assert (refused.code, refused.field) == ("wrong-topic", "type")


STRING_FIELDS = [
    *(path for path, value in ISSUED.items() if isinstance(value, str) and path != "type"),
    *(f"data.{name}" for name, value in DECLINED["data"].items() if isinstance(value, str)),
    "data.offenses.0.category",
    "data.offenses.0.basis",
    "data.withdrawn_reason",
    "redriveof",
    "anything",
    "data.anything",
]


@pytest.mark.parametrize(
    "number", ["A12345678", "a012345678", "12345678", "012345678", "A012-345-678", "id:A012345678;"]
)
@pytest.mark.parametrize("path", STRING_FIELDS)
def test_no_string_may_be_shaped_like_an_alien_registration_number(path: str, number: str) -> None:
    refused = refusal(encoded(changed(DECLINED, path, number)))
    assert (refused.code, refused.field) == ("a-number", path)
    assert number not in str(refused)


@pytest.mark.parametrize(
    "value", ["1234567", "1234567890", "A1234567", "AB12345678", "A012-345-6789", "2017-01-28/1", "import-2017012812"]
)
def test_other_numbers_are_no_alien_registration_numbers(value: str) -> None:
    accept(encoded(changed(ISSUED, "id", value)))


def test_a_uuid_and_an_instant_may_hold_eight_digits() -> None:
    fact(detainer_id="12345678-1234-4234-8234-123456789012", issued_at="2017-01-30T09:15:00.123456789+00:00")


def test_an_unknown_field_is_named_before_any_other_problem() -> None:
    """It may hold personal data, and what says so is not kept."""
    refused = refusal(encoded(event("issued", version="x", form="x", first_name="Jane")))
    assert (refused.code, refused.field) == ("unknown-field", "data.first_name")
    assert refused.detail.endswith("(and 2 more)")


def test_what_a_refusal_names_stands_on_one_line() -> None:
    assert refusal(b'{"x\\n": 1, "x\\n": 1}').field == "(a name of 2 characters)"


def test_an_example_is_read_as_what_it_says() -> None:
    declined = accept(encoded(DECLINED), "detainer-declined")
    assert declined.kind is Kind.DECLINED
    assert declined.agency == "ice-las-vegas"
    assert declined.identity == (Kind.DECLINED, "ice-las-vegas", DECLINED["data"]["detainer_id"])
    assert declined.recorded_us == declined.counted_us
    assert instant(declined.counted_us) == datetime(2017, 1, 31, 22, 30, tzinfo=UTC)
    assert declined.offenses == (("520", "charged"),)
    assert not declined.withdrawn
    issued = accept(encoded(ISSUED), "detainer-issued")
    assert issued.counted_us == issued.issued_us
    assert instant(issued.counted_us) == datetime(2017, 1, 30, 17, 15, tzinfo=UTC)
    assert (issued.declined_us, issued.recorded_us, issued.version) == (None, None, 1)


def test_offenses_not_known_and_none_recorded_are_different() -> None:
    assert fact(offenses=...).offenses is None
    assert fact(offenses=[]).offenses == ()


def test_a_code_that_is_no_longer_valid_stays_as_sent() -> None:
    assert fact(jurisdiction="46113", location="46113").jurisdiction == "46113"
    assert fact(jurisdiction="09001").jurisdiction == "09001"


def test_digits_finer_than_microseconds_are_cut() -> None:
    assert fact(issued_at="2017-01-30T09:15:00.9999999Z").issued_us % 1_000_000 == 999_999


def test_each_operator_answers_for_its_own_kind_of_place() -> None:
    for jurisdiction, operator in (("32003", "city"), ("32", "state"), ("US", "federal"), ("2430", "tribal")):
        assert fact(jurisdiction=jurisdiction, operator=operator).operator == operator


# What is inserted is unlike any rule's own words: letters that no code, field or message has side by side.
secrets = st.text(string.ascii_uppercase + "é \u2028", min_size=12, max_size=40).map(lambda text: f"Qx {text} xQ")


@given(
    path=st.sampled_from([*STRING_FIELDS, "type", "data", "data.version", "data.withdrawn", "data.offenses.1"]),
    secret=secrets,
)
@quick
def test_a_refusal_never_quotes_a_value(path: str, secret: str) -> None:
    refused = refusal(encoded(changed(DECLINED if path != "data.offenses.1" else ISSUED, path, secret)))
    assert secret not in f"{refused}{refused.code}{refused.field}{refused.detail}{refused!r}"


@given(
    secret=secrets,
    where=st.sampled_from(["", "data.", "data.offenses.0."]),
    number=st.sampled_from(["", " A012345678"]),
)
@quick
def test_a_refusal_never_quotes_the_name_of_a_field_that_could_be_a_persons(
    secret: str, where: str, number: str
) -> None:
    name = f"{secret} {number}"
    for bad in (encoded(changed(DECLINED, where + name, 1)), encoded({name: 1})[:-1] + encoded({name: 1})[1:]):
        refused = refusal(bad)
        assert secret not in f"{refused}{refused.field}{refused.detail}"


@given(st.binary(max_size=300))
@quick
def test_any_bytes_are_accepted_or_refused(value: bytes) -> None:
    with pytest.raises(Refused):
        accept(value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
)


@given(
    kind=st.sampled_from(["issued", "declined"]),
    changes=st.dictionaries(
        st.sampled_from([*STRING_FIELDS, "type", "data", "data.version", "data.offenses", "data.withdrawn"]),
        anything,
        min_size=1,
        max_size=3,
    ),
)
@quick
def test_any_json_is_accepted_or_refused(kind: str, changes: dict[str, object]) -> None:
    document = event(kind)
    for path in sorted(changes, reverse=True):
        try:
            document = changed(document, path, changes[path])
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    value = json.dumps(document).encode("utf-8", "surrogatepass")
    outcomes = set()
    for _ in range(2):
        try:
            outcomes.add(accept(value).fingerprint.hex())
        except Refused as refused:
            outcomes.add(str(refused))
    assert len(outcomes) == 1
