"""schemas.acceptance: code and field for each broken rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.acceptance import MAX_EVENT_BYTES
from tests.unit.sample_events import Document, changed, encoded, event, refusal

ISSUED, DECLINED = event("issued"), event("declined")


def raw(name: str, value: str) -> bytes:
    """An issued event with this JSON text as a member of the data."""
    marker = "in its place"
    return encoded(changed(ISSUED, f"data.{name}", marker)).replace(json.dumps(marker).encode(), value.encode())


def twice(path: str) -> bytes:
    """An issued event with a duplicate of the member at a dotted path."""
    *parents, last = path.split(".")
    parent: Any = ISSUED
    for name in parents:
        parent = parent[int(name)] if isinstance(parent, list) else parent[name]
    member = f"{json.dumps(last)}: {json.dumps(parent[last])}"
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
    "a trailing byte": (encoded(ISSUED).ljust(MAX_EVENT_BYTES + 1), "too-large", None),
    "deep arrays": (b"[" * 8_000 + b"]" * 8_000, "not-json", None),
    "deeper than any event": (raw("offenses", "[" * 100 + "]" * 100), "not-json", None),
    "deeper than the recursion limit": (raw("offenses", "[" * 5_000 + "]" * 5_000), "not-json", None),
    "deeper than the recursion limit, and cut off": (raw("offenses", "[" * 1_000), "not-json", None),
    "deeply nested objects": (raw("x", '{"x":' * 100 + "1" + "}" * 100), "not-json", None),
    "an integer of 5,000 digits": (raw("version", "9" * 5_000), "not-json", None),
    "NaN": (raw("version", "NaN"), "not-a-number", None),
    "Infinity": (raw("version", "Infinity"), "not-a-number", None),
    "minus Infinity": (raw("version", "-Infinity"), "not-a-number", None),
    "duplicate key in the envelope": (twice("type"), "duplicate-key", "type"),
    "duplicate key in the data": (twice("data.jurisdiction"), "duplicate-key", "jurisdiction"),
    "duplicate key in an offense": (twice("data.offenses.1.basis"), "duplicate-key", "basis"),
    "unknown duplicate key": (
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
    "source that is not an agency": ("source", "/agencies/", "bad-format", "source"),
    "source in upper case": ("source", "/agencies/ICE", "bad-format", "source"),
    "source of another kind": ("source", "https://example.org", "bad-format", "source"),
    "subject of another detainer": (
        "subject", "00000000-0000-4000-8000-000000000000", "subject-mismatch", "subject"
    ),
    "subject that is not a UUID": ("subject", "x", "bad-format", "subject"),
    "time without an offset": ("time", "2017-02-01T15:00:00", "naive-timestamp", "time"),
    "no time": ("time", ..., "missing-field", "time"),
    "no dataschema": ("dataschema", ..., "missing-field", "dataschema"),
    "dataschema with a space": ("dataschema", "/schemas/J Doe", "bad-format", "dataschema"),
    "another content type": ("datacontenttype", "text/plain", "unknown-code", "datacontenttype"),
    "unknown extension": ("partitionkey", "00", "unknown-field", "partitionkey"),
    "malformed traceparent": ("traceparent", "00", "bad-format", "traceparent"),
    "malformed tracestate": ("tracestate", "rojo", "bad-format", "tracestate"),
    "tracestate too long": ("tracestate", "a=" + "x" * 511, "out-of-range", "tracestate"),
    "null as a required attribute": ("time", None, "missing-field", "time"),
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
    "version with a fraction": ("data.version", 1.5, "wrong-type", "data.version"),
    "version 0.0": ("data.version", 0.0, "out-of-range", "data.version"),
    "version true": ("data.version", True, "wrong-type", "data.version"),
    "version as text": ("data.version", "1", "wrong-type", "data.version"),
    "version null": ("data.version", None, "wrong-type", "data.version"),
    # Withdrawal
    "withdrawn as text": ("data.withdrawn", "true", "wrong-type", "data.withdrawn"),
    "withdrawn as a number": ("data.withdrawn", 1, "wrong-type", "data.withdrawn"),
    "withdrawn null": ("data.withdrawn", None, "wrong-type", "data.withdrawn"),
    "withdrawn without a reason": ("data.withdrawn", True, "missing-field", "data.withdrawn_reason"),
    "a withdrawal reason without a withdrawal": (
        "data.withdrawn_reason", "entered-in-error", "unexpected-field", "data.withdrawn_reason"
    ),
    "unknown reason to withdraw": ("data.withdrawn_reason", "mistake", "unknown-code", "data.withdrawn_reason"),
    # Jurisdiction
    "no jurisdiction": ("data.jurisdiction", ..., "missing-field", "data.jurisdiction"),
    "jurisdiction by name": ("data.jurisdiction", "Clark County", "bad-format", "data.jurisdiction"),
    "jurisdiction as a number": ("data.jurisdiction", 32003, "wrong-type", "data.jurisdiction"),
    "jurisdiction of three digits": ("data.jurisdiction", "320", "bad-format", "data.jurisdiction"),
    "jurisdiction in other digits": ("data.jurisdiction", "٣٢٠٠٣", "bad-format", "data.jurisdiction"),
    "unknown county": ("data.jurisdiction", "32999", "unknown-jurisdiction", "data.jurisdiction"),
    "unknown state": ("data.jurisdiction", "99", "unknown-jurisdiction", "data.jurisdiction"),
    "a state code with the operator of a county": ("data.jurisdiction", "32", "operator-misfit", "data.operator"),
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
    # Unknown fields
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
def test_invalid_bytes_are_refused(value: bytes | None, code: str, field: str | None) -> None:
    refused = refusal(value)
    assert (refused.code, refused.field) == (code, field)


@pytest.mark.parametrize(("path", "value", "code", "field"), ANYWHERE.values(), ids=ANYWHERE)
def test_a_violated_rule_has_its_code_and_field(path: str, value: object, code: str, field: str | None) -> None:
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
def test_a_decline_has_additional_rules(path: str, value: object, code: str, field: str) -> None:
    refused = refusal(altered(DECLINED, path, value))
    assert (refused.code, refused.field) == (code, field)


@pytest.mark.parametrize(("kind", "topic"), [("issued", "detainer-declined"), ("declined", "detainer-issued")])
def test_an_event_in_the_other_kinds_topic_is_refused(kind: str, topic: str) -> None:
    refused = refusal(encoded(event(kind)), topic)
    assert (refused.code, refused.field) == ("wrong-topic", "type")


@pytest.mark.parametrize("address", ["/schemas/other/9", "/schemas/detainer-issued/2", "/schemas/detainer-declined/1"])
def test_an_event_of_another_schema_is_not_counted_either(address: str) -> None:
    refused = refusal(encoded(changed(ISSUED, "dataschema", address)), "detainer-issued")
    assert (refused.code, refused.field, refused.impersonal) == ("unknown-schema", "dataschema", False)
