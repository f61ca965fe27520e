"""services.importer.file_weeks: the weeks in which a file's records count."""

from __future__ import annotations

import json
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from schemas.week import ReportingCalendar
from services.importer.file_weeks import FileWeeks
from services.importer.rows import Event, Kind, Reject, Row

CALENDAR = ReportingCalendar(ZoneInfo("America/New_York"))
ISSUED = Event("issued", {"issued_at": "2026-02-06T23:59:59-05:00"})
DECLINED = Event("declined", {"issued_at": "2026-02-06T12:00:00-05:00", "recorded_at": "2026-02-07T00:00:00-05:00"})
WITHDRAWN = Event("issued", {"issued_at": "2030-02-06T12:00:00-05:00", "withdrawn": True})


def weeks(*rows: Row) -> dict[date, dict[Kind, int]]:
    found = FileWeeks(CALENDAR)
    for row in rows:
        found.add(row)
    return {week: dict(counts) for week, counts in found.counts.items()}


def test_a_decline_counts_when_it_was_recorded_and_a_withdrawn_fact_nowhere() -> None:
    rows = [Row(1, (ISSUED, DECLINED), None), Row(2, (WITHDRAWN,), None), Row(3, (), Reject(3, "", "no-state", ""))]
    expected: dict[date, dict[Kind, int]] = {date(2026, 1, 31): {"issued": 1}, date(2026, 2, 7): {"declined": 1}}
    assert weeks(*rows) == expected


def test_facts_that_an_earlier_release_sent_are_of_this_file_too() -> None:
    assert weeks(Row(1, (), None, carried=(ISSUED,))) == {date(2026, 1, 31): {"issued": 1}}


def test_a_complete_event_has_the_week_of_its_data() -> None:
    line = json.dumps({"type": "detainer-declined", "data": DECLINED.data}).encode()
    assert weeks(Row(1, (), None, line)) == {date(2026, 2, 7): {"declined": 1}}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no event",
        b"[]",
        b'{"type": "detainer-issued"}',
        b'{"type": "detainer-issued", "data": []}',
        b'{"type": "week-attested", "data": {}}',
        b'{"type": "detainer-issued", "data": {}}',
        b'{"type": "detainer-issued", "data": {"issued_at": "soon"}}',
        b'{"type": "detainer-issued", "data": {"issued_at": "2026-02-06T12:00:00"}}',
        b'{"type": "detainer-issued", "data": {"issued_at": "0001-01-01T00:00:00Z"}}',
        b"[" * 100_000,
    ],
)
def test_an_event_that_ingest_refuses_is_of_no_week(line: bytes) -> None:
    assert weeks(Row(1, (), None, line)) == {}
