"""Rules that the schemas cannot express, one event per line of schemas/golden/README.md, and rules that they can."""

from __future__ import annotations

import json
import re

import pytest

from schemas import export
from schemas.acceptance import Refused, accept_any
from tests.support.golden import golden
from tests.unit.sample_events import Document, changed, encoded, event

README = (export.GOLDEN / "README.md").read_text(encoding="utf-8")
PLAIN = encoded(event())
ATTESTED = event() | {
    "type": "week-attested",
    "subject": "2017-02-04",
    "data": {"week_start": "2017-01-28", "version": 1, "counts": {}},
}


def refusal(value: bytes) -> str:
    with pytest.raises(Refused) as caught:
        accept_any(value)
    return caught.value.code


BEYOND: dict[str, list[tuple[bytes, str]]] = {
    "An object has no member twice": [(PLAIN.replace(b'"version": 1', b'"version": 1, "version": 1'), "duplicate-key")],
    "An event has at most 16,384 bytes": [(PLAIN.ljust(16_385), "too-large")],
    "The text is UTF-8": [(json.dumps(event()).encode("utf-16"), "not-utf8"), (b"\xef\xbb\xbf" + PLAIN, "not-json")],
    "No string and no name": [(encoded(event() | {"id": "A123456789"}), "a-number")],
    "An integer is one exactly": [
        (PLAIN.replace(b'"version": 1', b'"version": 4503599627370497.5'), "wrong-type"),
    ],
    "An instant names a day": [
        (encoded(event(issued_at="2017-02-30T09:15:00Z")), "bad-timestamp"),
        (encoded(event(issued_at="1899-12-31T09:15:00Z")), "bad-timestamp"),
    ],
    "`subject` equals": [
        (encoded(event() | {"subject": "00000000-0000-4000-8000-000000000000"}), "subject-mismatch"),
        (encoded(ATTESTED), "subject-mismatch"),
    ],
    "The operator fits": [(encoded(event(operator="state")), "operator-misfit")],
    "Issued, declined and recorded": [
        (encoded(event("declined", recorded_at="2016-11-02T14:00:00Z")), "order-of-instants"),
    ],
    "`dataschema` names no schema": [
        (encoded(event() | {"dataschema": "/schemas/detainer-issued/9"}), "unknown-schema")
    ],
    "A withdrawn fact has a reason": [
        (encoded(event(withdrawn=True)), "missing-field"),
        (encoded(event(withdrawn_reason="entered-in-error")), "unexpected-field"),
    ],
}


@pytest.mark.parametrize("rule", BEYOND)
def test_the_schema_allows_and_the_rules_refuse_the_event(rule: str) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| {rule}")]
    codes = re.findall(r"`([a-z0-9-]+)`", line.rsplit("|", 2)[1])
    for value, code in BEYOND[rule]:
        text = value.decode("utf-16" if value[:2] == b"\xff\xfe" else "utf-8-sig")
        document: Document = json.loads(text)
        golden(document["type"]).validate(document)
        assert refusal(value) == code
    assert {code for _, code in BEYOND[rule]} == set(codes)


def test_the_list_names_each_event() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| ")]
    assert len(rows) - 1 == len(BEYOND)


# Rules that the schemas express.


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", "abc\n"),
        ("source", "/agencies/a\n"),
        ("subject", "3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f\n"),
        ("time", "2017-02-01T15:00:00Z\n"),
        ("dataschema", "/schemas/detainer-issued/1\n"),
        ("datacontenttype", "application/json\n"),
        ("traceparent", f"00-{'0af7' * 8}-{'b7ad' * 4}-01\n"),
        ("tracestate", "a=1\n"),
        ("redriveof", "detainer-issued/1/1\n"),
        ("partitionkey\n", None),
        ("data.facility", "CCDC\n"),
        ("data.detainer_id", "3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f\n"),
        ("data.jurisdiction", "32003\n"),
        ("data.jurisdiction", "99999"),
        ("data.jurisdiction", "32999"),
        ("data.jurisdiction", "99"),
        ("data.jurisdiction", "9999"),
        ("data.location", "99999"),
        ("data.location", "32"),
        ("data.issued_at", "2016-12-31T23:59:60Z"),
    ],
)
def test_a_schema_refuses_everything_that_it_can_express(path: str, value: object) -> None:
    document = changed(event(), path, value)
    assert not golden("detainer-issued").is_valid(document)
    refusal(encoded(document))


def test_a_day_of_an_attestation_has_no_line_break_either() -> None:
    good = ATTESTED | {"subject": "2017-01-28"}
    golden("week-attested").validate(good)
    for path in ("subject", "data.week_start"):
        assert not golden("week-attested").is_valid(changed(good, path, "2017-01-28\n"))
