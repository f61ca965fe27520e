"""Bodies that ingest refuses, for tests of single events, batches and lines."""

from __future__ import annotations

from typing import Any

from tests.support import events
from tests.support.agencies import NEW_YORK


def _data(**changes: Any) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(1, **changes)))


def _envelope(**changes: Any) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(1), **changes))


def _text(old: str, new: str) -> bytes:
    """A valid event's text with one part replaced by text that no encoder writes."""
    value = _data(form="I-247D").decode()
    assert old in value
    return value.replace(old, new).encode()


GOOD = _data()
# By fault: the event, the status of a single event, the code, and the field in the response.
REFUSED = {
    "naive timestamp": (_data(issued_at="2017-01-30T12:00:00"), 422, "naive-timestamp", "data.issued_at"),
    "naive envelope time": (_envelope(time="2017-01-30T12:00:00"), 422, "naive-timestamp", "time"),
    "no timestamp": (_data(issued_at="last Monday"), 422, "bad-timestamp", "data.issued_at"),
    "a day that is not": (_data(issued_at="2017-02-30T12:00:00Z"), 422, "bad-timestamp", "data.issued_at"),
    "unknown jurisdiction": (_data(jurisdiction="32999"), 422, "unknown-jurisdiction", "data.jurisdiction"),
    "a state's code for a county": (_data(jurisdiction="32"), 422, "operator-misfit", "data.operator"),
    "federal custody of a county": (_data(operator="federal"), 422, "operator-misfit", "data.operator"),
    "version 0": (_data(version=0), 422, "out-of-range", "data.version"),
    "version 2^53": (_data(version=2**53), 422, "out-of-range", "data.version"),
    "version as text": (_data(version="1"), 422, "wrong-type", "data.version"),
    "version 1.5": (_text('"version":1', '"version":1.5'), 422, "wrong-type", "data.version"),
    "A-number": (_data(facility="A123456789"), 422, "a-number", "data.facility"),
    "A-number of eight": (_data(facility="A12345678"), 422, "a-number", "data.facility"),
    "A-number without A": (_data(facility="12345678"), 422, "a-number", "data.facility"),
    "A-number with hyphens": (_data(facility="A123-456-789"), 422, "a-number", "data.facility"),
    "A-number as event id": (_envelope(id="a123456789"), 422, "a-number", "id"),
    "A-number as a name": (_envelope(A123456789=True), 422, "a-number", None),
    "unknown field": (_data(last_name="Doe"), 422, "unknown-field", "data.last_name"),
    "unknown field beside the data": (_envelope(partitionkey="00-0"), 422, "unknown-field", "partitionkey"),
    "malformed traceparent": (_envelope(traceparent="00-0"), 422, "bad-format", "traceparent"),
    "unknown field in an offense": (
        _data(offenses=[{"category": "90D", "basis": "charged", "note": "x"}]),
        422, "unknown-field", "data.offenses.0.note",
    ),
    "unknown code": (_data(form="I-999"), 422, "unknown-code", "data.form"),
    "missing field": (_data(issued_at=None), 422, "missing-field", "data.issued_at"),
    "withdrawn without reason": (_data(withdrawn=True), 422, "missing-field", "data.withdrawn_reason"),
    "another subject": (_envelope(subject=events.detainer_id(2)), 422, "subject-mismatch", "subject"),
    "unknown type": (_envelope(type="detainer-invented"), 422, "unknown-type", "type"),
    "declined before issued": (
        events.encoded(events.envelope("declined", events.declined(1, declined_at="2017-01-29T12:00:00Z"))),
        422, "order-of-instants", "data.declined_at",
    ),
    "NaN": (_text('"version":1', '"version":NaN'), 422, "not-a-number", None),
    "Infinity": (_text('"version":1', '"version":-Infinity'), 422, "not-a-number", None),
    "duplicate keys": (_text('"version":1', '"version":1,"version":2'), 422, "duplicate-key", "version"),
    "NUL in text": (_text("I-247D", "I-24\\u00007D"), 422, "control-character", "data.form"),
    "an array for data": (
        events.encoded(events.envelope("issued", events.issued(1)) | {"data": []}), 422, "wrong-type", "data",
    ),
    "a jurisdiction of others": (_data(jurisdiction="36059"), 422, "jurisdiction-not-allowed", "data.jurisdiction"),
    "another agency's name": (_envelope(source=f"/agencies/{NEW_YORK}"), 422, "source-not-allowed", "source"),
    "20 kB": (_text("I-247D", "I" * 20_000), 413, "too-large", None),
    "text": (b'"an event"', 400, "not-json", None),
}  # fmt: skip
# These cannot be elements of a JSON array, so they are sent as single events only.
NO_JSON = {
    "broken JSON": (GOOD[:-1], "not-json"),
    "two events": (GOOD + GOOD, "not-json"),
    "a NUL byte": (_text("I-247D", "I-24\x007D"), "not-json"),
    "broken UTF-8": (GOOD.replace(b"event-1", b"event-\xff"), "not-utf8"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "not-utf8"),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + GOOD, "not-json"),
    "spaces": (b"   ", "not-json"),
}
