"""services.ingest.intake: accepts or rejects one event."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.acceptance import MAX_EVENT_BYTES
from schemas.instant import microseconds
from services.ingest import intake
from services.ingest.intake import CLOCK_SKEW_US, Accepted, Judged, Rejected
from services.ingest.receipts import Receipt, Summary, encode, encode_lines
from services.ingest.responses import _FRAMING_CODES
from services.runtime.agencies import Agency
from tests.unit.sample_events import Document, changed, encoded, event
from tests.unit.sample_reports import CALENDAR, listed

(VEGAS,) = listed(("ice-las-vegas", "issued", "32* 36*")).listed
(BOTH,) = listed(("ice-las-vegas", "issued declined", "32* 36*")).listed
ID = event()["data"]["detainer_id"]
NOW = microseconds(datetime(2017, 2, 1, tzinfo=UTC))


def judge(line: int, value: bytes, agency: Agency) -> Judged:
    return intake.judge(line, value, agency, NOW, CALENDAR)


def judged(document: Document, agency: Agency = VEGAS) -> Judged:
    return judge(7, encoded(document), agency)


def shown(receipt: Receipt) -> dict[str, Any]:
    """The receipt as JSON."""
    document: dict[str, Any] = json.loads(encode(receipt))
    return document


def refused(found: Judged) -> Rejected:
    assert isinstance(found, Rejected)
    return found


def rejected(document: Document, agency: Agency = VEGAS) -> Receipt:
    receipt = refused(judged(document, agency)).receipt
    assert (receipt.line, receipt.status, receipt.retryable) == (7, "rejected", False)
    assert (receipt.topic, receipt.partition, receipt.offset) == (None, None, None)
    return receipt


def test_an_accepted_event_has_its_bytes_and_partition() -> None:
    value = json.dumps(event(), indent=3).encode()
    accepted = judge(7, value, VEGAS)
    assert isinstance(accepted, Accepted)
    assert (accepted.line, accepted.event_id, accepted.value) == (7, "example/1/issued", value)
    assert (accepted.topic, accepted.key) == ("detainer-issued", ID.encode())
    assert accepted.partition.number == zlib.crc32(ID.encode()) % 12


def test_the_key_is_the_lower_case_of_the_uuid() -> None:
    accepted = judged(event(detainer_id=ID.upper()))
    assert isinstance(accepted, Accepted)
    assert accepted.key == ID.encode()


def test_a_decline_goes_to_its_own_topic() -> None:
    accepted = judged(event("declined"), BOTH)
    assert isinstance(accepted, Accepted)
    assert accepted.topic == "detainer-declined"


@pytest.mark.parametrize(
    ("document", "code", "detail"),
    [
        (changed(event(), "source", "/agencies/other"), "source-not-allowed", "/agencies/ice-las-vegas"),
        (event("declined"), "kind-not-allowed", "type:"),
        (event(jurisdiction="06037"), "jurisdiction-not-allowed", "data.jurisdiction:"),
        (event(jurisdiction="US", operator="federal"), "jurisdiction-not-allowed", "scope of ice-las-vegas"),
        (event(jurisdiction="32999"), "unknown-jurisdiction", "data.jurisdiction:"),
        (event(name="Doe"), "unknown-field", "data.name:"),
        (event(issued_at="1999-12-31T23:59:59.999999Z"), "before-2000", "data.issued_at:"),
        (event(issued_at="2017-02-01T01:00:00.000001Z"), "in-the-future", "data.issued_at:"),
    ],
)
def test_events_that_an_agency_may_not_send_are_rejected(document: Document, code: str, detail: str) -> None:
    receipt = rejected(document)
    assert (receipt.code, receipt.id) == (code, "example/1/" + document["type"].split("-")[1])
    assert receipt.detail is not None
    assert detail in receipt.detail


def test_the_location_does_not_affect_the_scope() -> None:
    assert isinstance(judged(event(location="06037")), Accepted)


def test_an_event_may_be_an_hour_ahead_of_the_clock() -> None:
    """Checks `issued_at` of an issued and `recorded_at` of a declined detainer."""
    for kind, name in (("issued", "issued_at"), ("declined", "recorded_at")):
        assert isinstance(judged(event(kind, **{name: "2017-02-01T01:00:00Z"}), BOTH), Accepted)
        late = rejected(event(kind, **{name: "2017-02-01T01:00:00.000001Z"}), BOTH)
        assert (late.code, late.detail and late.detail.partition(":")[0]) == ("in-the-future", f"data.{name}")
    later = intake.judge(
        1, encoded(event(issued_at="2017-02-01T01:00:00.000001Z")), VEGAS, NOW + CLOCK_SKEW_US, CALENDAR
    )
    assert isinstance(later, Accepted)


def test_the_first_instant_of_2000_is_early_enough() -> None:
    assert isinstance(judged(event(issued_at="2000-01-01T00:00:00Z")), Accepted)
    assert rejected(event("declined", issued_at="1999-12-31T23:59:59Z"), BOTH).code == "before-2000"


def test_the_source_is_checked_before_the_scope() -> None:
    assert rejected(changed(event(jurisdiction="06037"), "source", "/agencies/x")).code == "source-not-allowed"


@pytest.mark.parametrize(
    ("value", "event_id"),
    [
        (encoded(changed(event(version=0), "id", "x" * 128)), "x" * 128),
        (encoded(changed(event(version=0), "id", "x" * 129)), None),
        (encoded(changed(event(version=0), "id", "évènement 1")), None),
        (encoded(changed(event(version=0), "id", "Jane Doe")), None),
        (encoded(changed(event(version=0), "id", "123456789")), None),
        (encoded(changed(event(), "id", "case/A123-456-789")), None),
        (encoded(changed(event(facility="A123456789"), "id", "case/1")), "case/1"),
        (encoded(changed(event(version=0), "id", "a\nb")), None),
        (encoded(changed(event(version=0), "id", "\u202e")), None),
        (encoded(changed(event(version=0), "id", "\ud800")), None),
        (encoded(changed(event(version=0), "id", 5)), None),
        (encoded(changed(event(version=0), "id", None)), None),
        (encoded(changed(event(version=0), "id")), None),
        (b'{"id": "x", "type": ', None),
        (b"[]", None),
        (b"", None),
        (b'{"id": "\xff"}', None),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "id": "x"}', None),
    ],
)
def test_only_a_valid_id_is_echoed(value: bytes, event_id: str | None) -> None:
    """Any other id may be personal data, and responses may be logged."""
    assert refused(judge(1, value, VEGAS)).receipt.id == event_id


@pytest.mark.parametrize(
    ("value", "topic"),
    [
        (encoded(event("declined", version=0)), "detainer-declined"),
        (encoded(event(jurisdiction="06037")), "detainer-issued"),
        (encoded(changed(event(), "name", "x")), "detainer-issued"),
        (encoded(changed(event(), "type", "week-attested")), "week-attested"),
        (encoded(changed(event(), "type", "another")), None),
        (encoded(changed(event(), "type", ["detainer-issued"])), None),
        (encoded(changed(event(), "type")), None),
        (b"x", None),
    ],
)
def test_a_rejected_event_has_the_topic_of_its_type(value: bytes, topic: str | None) -> None:
    found = refused(judge(1, value, VEGAS))
    assert found.topic == topic
    assert found.receipt.topic is None


@given(st.binary(max_size=200))
def test_any_bytes_get_a_receipt(value: bytes) -> None:
    assert shown(refused(judge(1, value, VEGAS)).receipt)["status"] == "rejected"


def accepted() -> Accepted:
    found = judged(event())
    assert isinstance(found, Accepted)
    return found


def test_receipts_have_the_members_of_the_contract() -> None:
    assert shown(accepted().stored(41)) == {
        "line": 7,
        "id": "example/1/issued",
        "status": "accepted",
        "retryable": False,
        "topic": "detainer-issued",
        "partition": zlib.crc32(ID.encode()) % 12,
        "offset": 41,
    }
    assert shown(accepted().unavailable()) == {
        "line": 7,
        "id": "example/1/issued",
        "status": "unavailable",
        "code": "not-acknowledged",
        "detail": "not acknowledged in time; send the event again, it never counts twice",
        "retryable": True,
    }
    assert shown(refused(judge(3, b"x", VEGAS)).receipt) == {
        "line": 3,
        "status": "rejected",
        "code": "not-json",
        "detail": "an event is one JSON object (RFC 8259)",
        "retryable": False,
    }


def test_offset_0_and_partition_0_are_shown() -> None:
    receipt = Receipt(1, "accepted", False, topic="detainer-issued", partition=0, offset=0)
    assert (shown(receipt)["partition"], shown(receipt)["offset"]) == (0, 0)


def test_the_receipt_of_a_line_that_is_too_long_names_the_limit() -> None:
    receipt = intake.too_long(9, MAX_EVENT_BYTES).receipt
    assert (receipt.line, receipt.status, receipt.code, receipt.retryable) == (9, "rejected", "too-large", False)
    assert str(MAX_EVENT_BYTES) in (receipt.detail or "")


def test_a_summary_adds_up() -> None:
    summary = Summary()
    summary.add([accepted().stored(1), accepted().stored(2)])
    summary.add([])
    summary.add([rejected(event(version=0)), accepted().unavailable()])
    assert json.loads(encode(summary)) == {"lines": 4, "accepted": 2, "rejected": 1, "unavailable": 1}


def test_each_receipt_ends_with_a_line_break() -> None:
    receipts = [accepted().stored(1), accepted().unavailable()]
    lines = encode_lines(receipts).split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == [shown(one) for one in receipts]


def test_codes_of_framing_are_those_of_the_acceptance_function() -> None:
    assert {refused(judge(1, value, VEGAS)).receipt.code for value in (b"x", b"\xff")} == {
        "not-json",
        "not-utf8",
    }
    assert {"not-json", "not-utf8"} <= _FRAMING_CODES


@pytest.mark.parametrize(
    "address",
    [
        *("/schemas/other/9", "/schemas/detainer-issued/2", "/schemas/detainer-declined/1"),
        "/schemas/detainer-issued/10",
        *("https://example.org/schemas/detainer-issued/2", "https://example.org/mine", "urn:x"),
        "schemas/detainer-issued/1",
        *("/schemas/other/9?/schemas/detainer-issued/1", "/schemas/other/9/schemas/detainer-issued/1"),
        "https://example.org/schemas/other/9/schemas/detainer-issued/1",
    ],
)  # fmt: skip
def test_an_event_of_another_schema_is_refused(address: str) -> None:
    """Events of another schema may have another meaning."""
    receipt = rejected(changed(event("issued"), "dataschema", address))
    assert (receipt.code, receipt.retryable) == ("unknown-schema", False)
    assert "dataschema: must be /schemas/detainer-issued/1" in (receipt.detail or "")


@pytest.mark.parametrize("server", ["", "https://ddor.example.org", "http://127.0.0.1:8081/detainers"])
def test_a_schema_may_have_the_address_of_a_server(server: str) -> None:
    address = f"{server}/schemas/detainer-issued/1"
    assert isinstance(judged(changed(event("issued"), "dataschema", address)), Accepted)


def test_redriveof_is_refused() -> None:
    receipt = rejected(event("issued") | {"redriveof": "detainer-issued/1/1"})
    assert (receipt.code, receipt.detail) == (
        "unexpected-field",
        "redriveof: is set only by `ddor rejected redrive`",
    )
    assert isinstance(judged(event("issued") | {"redriveof": None}), Accepted)
