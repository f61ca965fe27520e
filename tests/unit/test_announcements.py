"""services.publisher.announcements: valid, foreign and unreadable records are distinguished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.announcement import announcement, final_notice
from schemas.topics import CONTENT_TYPE
from services.publisher import recovery
from services.publisher.announcements import Announced, Foreign, Unreadable, parse
from tests.support import foreign
from tests.unit.sample_reports import Declined, report, snapshot

_TIME = "2017-02-05T05:00:00+00:00"
_REPORT = report(snapshot({"32003": 118, "36059": 44}, {"32003": 51, "36059": 38}, declines=[Declined(None)]))
_READY = announcement(_REPORT.document(), _TIME)
_FINAL, _ = final_notice(_REPORT.week_start, 1, _REPORT.digest, _TIME)
_HEADERS = (("content-type", CONTENT_TYPE.encode()), ("id", b"an-id"))


@dataclass(frozen=True)
class Record:
    """A record of `report-ready`."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    offset: int = 17
    timestamp: int = 1_486_270_800_000


def _changed(value: bytes, **data: Any) -> Record:
    event = json.loads(value)
    return Record(foreign.encoded({**event, "data": {**event["data"], **data}}))


def test_an_announcement_is_read_whole() -> None:
    one = parse(Record(_READY, b"2017-01-28", _HEADERS))
    assert isinstance(one, Announced)
    assert (str(one), one.digest, one.final, one.offset) == ("2017-01-28@1", _REPORT.digest, False, 17)
    assert one.data == json.loads(_READY)["data"]
    assert one.published_at == datetime(2017, 2, 5, 5, tzinfo=UTC)


def test_the_notice_of_a_final_week_is_read() -> None:
    one = parse(Record(_FINAL))
    assert isinstance(one, Announced)
    assert (str(one), one.revision, one.final) == ("2017-01-28 final", 1, True)


def test_a_later_version_may_add_fields() -> None:
    event = json.loads(_READY)
    data = event["data"]
    later = {**event, "severity": 1, "data": {**data, "more": [1], "totals": {**data["totals"], "pending": 3}}}
    one = parse(Record(foreign.encoded(later)))
    assert isinstance(one, Announced)
    assert one.data == data, "unknown members are not restored"


@pytest.mark.parametrize("name", foreign.CORPUS)
def test_a_foreign_record_is_recognized(name: str) -> None:
    found = parse(Record(foreign.CORPUS[name]))
    assert isinstance(found, Foreign)
    assert found.offset == 17


@pytest.mark.parametrize("name", ["no value", "text", "no UTF-8", "deep lists", "half of an event"])
def test_an_invalid_value_with_the_publishers_key_and_headers_is_unreadable(name: str) -> None:
    """A mirror that drops or changes values must not cause a revision number to be published twice."""
    found = parse(Record(foreign.CORPUS[name], b"2017-01-28", _HEADERS))
    assert isinstance(found, Unreadable)
    assert str(found.address) == "report-ready/0/17"
    assert found.sha256 == hashlib.sha256(foreign.CORPUS[name] or b"").hexdigest()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(b'{"type":"report-ready","source":"/publisher"}'), "id: missing"),
        (_changed(_READY, revision="1"), "data.revision: int type"),
        (_changed(_READY, revision=True), "data.revision: int type"),
        (_changed(_READY, revision=0), "data.revision: is not"),
        (_changed(_READY, revision=2**31), "data.revision: is not"),
        (_changed(_READY, revision=10**400), "data.revision"),
        (_changed(_READY, week_start="2017-01-32"), "data.week_start"),
        (_changed(_READY, week_start="0001-01-01"), "data.week_end"),
        (_changed(_READY, digest="ab"), "data.digest: string pattern"),
        (_changed(_READY, zone="\x00"), "data: contains a NUL character"),
        (_changed(_READY, zone="\ud800"), "event: json invalid"),
        (_changed(_READY, offsets={"detainer-issued": {"x": 1}}), "data.offsets"),
        (_changed(_READY, offsets={"detainer-issued": {"0": 2**63}}), "data.offsets"),
        (_changed(_READY, offsets={"A12345678": {"0": None}}), "data.offsets.*.*: int type"),
        (_changed(_READY, jurisdictions={}), "data.jurisdictions: list type"),
        (_changed(_READY, top=[dict(json.loads(_READY)["data"]["top"][0], declined=None)]), "data.top: contains a row"),
        (_changed(_FINAL, revision=None), "data.revision: int type"),
        (replace(_changed(_READY), timestamp=2**62), "timestamp"),
    ],
)
def test_an_unreadable_announcement_is_reported_with_its_field(record: Record, reason: str) -> None:
    found = parse(record)
    assert isinstance(found, Unreadable), found
    assert reason in found.why
    assert "A12345678" not in found.why, "names from the record are not shown"


@given(
    value=foreign.VALUES | foreign.mutated(_READY) | foreign.mutated(_FINAL),
    key=st.none() | st.just(b"2017-01-28") | st.binary(max_size=12),
    headers=st.just(_HEADERS) | st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=4)), max_size=2),
    timestamp=st.integers(min_value=-(2**63), max_value=2**63 - 1),
)
def test_no_record_stops_the_reader_and_announcements_can_be_restored(
    value: bytes | None, key: bytes | None, headers: Sequence[tuple[str, bytes]], timestamp: int
) -> None:
    found = parse(Record(value, key, headers, timestamp=timestamp))
    if isinstance(found, Announced):
        json.dumps(found.data, allow_nan=False).encode()
        assert 1 <= found.revision < 2**31
        if not found.final:
            assert recovery.document(found)["top_declined"] >= 0
    else:
        assert isinstance(found, Foreign | Unreadable)
        assert found.why
