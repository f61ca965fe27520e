"""services.ingest.intake: what becomes of an event at the door."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest import intake
from services.ingest.intake import Accepted, NotABatchError, Receipt, judge, split, stored, summary, unavailable
from services.runtime.agencies import Agency
from tests.unit.sample_events import Document, changed, encoded, event, quick
from tests.unit.sample_reports import listed

(VEGAS,) = listed(("ice-las-vegas", "issued", "32* 36*")).listed
(BOTH,) = listed(("ice-las-vegas", "issued declined", "32* 36*")).listed
ID = event()["data"]["detainer_id"]


def judged(document: Document, agency: Agency = VEGAS) -> Accepted | Receipt:
    return judge(7, encoded(document), agency)


def rejected(document: Document, agency: Agency = VEGAS) -> Receipt:
    receipt = judged(document, agency)
    assert isinstance(receipt, Receipt)
    assert (receipt.line, receipt.status, receipt.retryable) == (7, "rejected", False)
    assert (receipt.topic, receipt.partition, receipt.offset) == (None, None, None)
    return receipt


def test_an_event_is_handed_on_with_its_own_bytes_and_its_place() -> None:
    value = json.dumps(event(), indent=3).encode()
    accepted = judge(7, value, VEGAS)
    assert isinstance(accepted, Accepted)
    assert (accepted.line, accepted.event_id, accepted.value) == (7, "example/1/issued", value)
    assert (accepted.topic, accepted.key) == ("detainer-issued", ID.encode())
    assert accepted.partition == zlib.crc32(ID.encode()) % 12


def test_the_key_is_the_lower_case_of_the_uuid() -> None:
    accepted = judged(event(detainer_id=ID.upper()))
    assert isinstance(accepted, Accepted)
    assert accepted.key == ID.encode()


def test_a_decline_goes_to_its_own_topic() -> None:
    accepted = judged(event("declined"), BOTH)
    assert isinstance(accepted, Accepted)
    assert accepted.topic == "detainer-declined"


@pytest.mark.parametrize(
    ("document", "code", "said", "kind"),
    [
        (changed(event(), "source", "/agencies/other"), "source-not-allowed", "/agencies/ice-las-vegas", "issued"),
        (event("declined"), "kind-not-allowed", "type:", "declined"),
        (event(jurisdiction="06037"), "jurisdiction-not-allowed", "data.jurisdiction:", "issued"),
        (event(jurisdiction="US", operator="federal"), "jurisdiction-not-allowed", "scope of ice-las-vegas", "issued"),
        (event(jurisdiction="32999"), "unknown-jurisdiction", "data.jurisdiction:", "unknown"),
        (event(name="Doe"), "unknown-field", "data.name:", "unknown"),
    ],
)
def test_what_an_agency_may_not_send_is_rejected_with_a_code(
    document: Document, code: str, said: str, kind: str
) -> None:
    receipt = rejected(document)
    assert (receipt.code, receipt.kind, receipt.id) == (code, kind, "example/1/" + document["type"].split("-")[1])
    assert receipt.detail is not None
    assert said in receipt.detail


def test_where_the_building_stands_decides_nothing() -> None:
    assert isinstance(judged(event(location="06037")), Accepted)


def test_another_agencys_source_is_told_before_its_scope() -> None:
    assert rejected(changed(event(jurisdiction="06037"), "source", "/agencies/x")).code == "source-not-allowed"


@pytest.mark.parametrize(
    ("value", "event_id"),
    [
        (encoded(changed(event(version=0), "id", "x" * 128)), "x" * 128),
        (encoded(changed(event(version=0), "id", "x" * 129)), None),
        (encoded(changed(event(version=0), "id", "évènement 1")), "évènement 1"),
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
def test_an_id_is_echoed_only_where_it_can_be_read_and_shown(value: bytes, event_id: str | None) -> None:
    receipt = judge(1, value, VEGAS)
    assert isinstance(receipt, Receipt)
    assert receipt.id == event_id


@given(st.binary(max_size=200))
@quick
def test_any_bytes_get_a_receipt(value: bytes) -> None:
    receipt = judge(1, value, VEGAS)
    assert isinstance(receipt, Receipt)
    json.dumps(receipt.as_json())


def test_a_batch_is_split_without_a_change_to_its_events() -> None:
    values = [json.dumps(event(), indent=2).encode(), b'{"NaN": 1.0e0}', b"[]", b'"x"', b"1"]
    assert split(b" [" + b" ,\n".join(values) + b"] ") == values


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"[",
        b"[1,]",
        b"[1] 2",
        b"[1 2]",
        b"\xef\xbb\xbf[1]",
        b"[1]".decode().encode("utf-16"),
        b"[" + b",".join([b"1"] * 1_001) + b"]",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        encoded(event()),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_array_of_events_is_no_batch(body: bytes) -> None:
    with pytest.raises(NotABatchError):
        split(body)


def test_a_thousand_events_are_a_batch() -> None:
    assert len(split(b"[" + b",".join([b"1"] * 1_000) + b"]")) == 1_000


def test_the_message_says_how_many_there_may_be() -> None:
    with pytest.raises(NotABatchError, match=r"at most 1000 events, this one has 1001"):
        split(b"[" + b",".join([b"1"] * 1_001) + b"]")


@given(st.binary(max_size=60))
@quick
def test_any_body_is_a_batch_or_is_not(body: bytes) -> None:
    for framed in (body, b"[" + body + b"]"):
        with suppress(NotABatchError):
            assert all(isinstance(value, bytes) for value in split(framed))


def accepted() -> Accepted:
    found = judged(event())
    assert isinstance(found, Accepted)
    return found


def test_receipts_have_the_members_of_the_contract() -> None:
    assert stored(accepted(), 41).as_json() == {
        "line": 7,
        "id": "example/1/issued",
        "status": "accepted",
        "retryable": False,
        "topic": "detainer-issued",
        "partition": zlib.crc32(ID.encode()) % 12,
        "offset": 41,
    }
    assert unavailable(accepted()).as_json() == {
        "line": 7,
        "id": "example/1/issued",
        "status": "unavailable",
        "code": "not-acknowledged",
        "detail": "not acknowledged in time; send it again, it cannot count twice",
        "retryable": True,
    }
    assert judge(3, b"x", VEGAS).as_json() == {  # type: ignore[union-attr]
        "line": 3,
        "status": "rejected",
        "code": "not-json",
        "detail": "an event is one JSON object (RFC 8259)",
        "retryable": False,
    }


def test_offset_0_and_partition_0_are_shown() -> None:
    receipt = Receipt(1, None, "accepted", topic="detainer-issued", partition=0, offset=0)
    assert (receipt.as_json()["partition"], receipt.as_json()["offset"]) == (0, 0)


def test_a_summary_adds_up() -> None:
    receipts = [stored(accepted(), 1), stored(accepted(), 2), rejected(event(version=0)), unavailable(accepted())]
    assert summary(receipts) == {"lines": 4, "accepted": 2, "rejected": 1, "unavailable": 1}


def test_codes_of_framing_are_those_of_the_acceptance_function() -> None:
    assert {judge(1, value, VEGAS).code for value in (b"x", b"\xff")} <= intake.FRAMING_CODES  # type: ignore[union-attr]
