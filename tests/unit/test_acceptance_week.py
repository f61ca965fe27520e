"""services.importer.acceptance_week: the exact figures of the first report's week, the same in every run."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import deploy
from schemas.acceptance import accept
from schemas.fact import Fact
from schemas.instant import instant
from schemas.week import ReportingCalendar, Weekday
from services.importer import acceptance_week
from services.importer.files import InputFile
from services.importer.rows import NotThisFileError, Row
from tests.unit.sample_events import encoded, event

FILE = Path(deploy.__path__[0]) / "demo" / "2017-01-28.csv"
CALENDAR = ReportingCalendar(ZoneInfo("America/New_York"))
WEEK = CALENDAR.week(date(2017, 1, 28))
OUTSIDE = 2 * 10
ISSUED_BEFORE = 206 + OUTSIDE
"""Each declined detainer was issued before, including those declined outside the week."""
TOP = {
    "32003": 51,
    "36059": 38,
    "17031": 13,
    "19137": 12,
    "53061": 12,
    "36033": 9,
    "41067": 7,
    "12001": 5,
    "19069": 5,
    "42055": 5,
}
MICROSECOND = timedelta(microseconds=1)


@cache
def rows(agency: str = "demo", dataset: str = "first-week") -> list[Row]:
    return list(acceptance_week.read(InputFile(FILE), agency, dataset, CALENDAR))


@cache
def facts() -> list[Fact]:
    found = []
    for row in rows():
        (one,) = row.events
        document = event(one.kind) | {"data": one.data, "subject": one.data["detainer_id"]}
        found.append(accept(encoded(document), f"detainer-{one.kind}"))
    return found


def counted_at(fact: Fact) -> datetime:
    return instant(fact.counted_us)


def inside(kind: str) -> list[Fact]:
    return [fact for fact in facts() if fact.kind == kind and counted_at(fact) in WEEK]


def issued_before() -> list[Fact]:
    """The issue of each detainer that was declined."""
    declined = {fact.detainer_id for fact in facts() if fact.kind == "declined"}
    return [fact for fact in facts() if fact.kind == "issued" and fact.detainer_id in declined]


def test_the_same_file_gives_the_same_events() -> None:
    assert list(acceptance_week.read(InputFile(FILE), "demo", "first-week", CALENDAR)) == rows()


def test_another_agency_or_data_set_has_other_identities() -> None:
    ids = [{one.events[0].data["detainer_id"] for one in some} for some in (rows(), rows("x"), rows(dataset="x"))]
    assert all(len(some) == len(rows()) - ISSUED_BEFORE for some in ids)
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]


def test_rows_are_numbered_from_one_and_none_is_rejected() -> None:
    assert [row.number for row in rows()] == list(range(1, 3_083 + 206 + 2 * OUTSIDE + ISSUED_BEFORE + 1))
    assert all(row.reject is None for row in rows())


def test_the_week_has_3083_issued_and_206_declined() -> None:
    assert (len(inside("issued")), len(inside("declined"))) == (3_083, 206)


def test_the_first_ten_jurisdictions_declined_157() -> None:
    declined = Counter(fact.jurisdiction for fact in inside("declined"))
    assert dict(declined.most_common(10)) == TOP
    assert sum(TOP.values()) == 157


def test_the_other_49_declines_are_spread_over_many_jurisdictions() -> None:
    declined = Counter(fact.jurisdiction for fact in inside("declined"))
    others = {code: n for code, n in declined.items() if code not in TOP}
    assert sum(others.values()) == 49
    assert len(others) >= 30
    assert max(others.values()) < 5


def test_namesakes_are_distinguished_by_code() -> None:
    assert {"19069", "36033", "42055", "19137", "24031", "39049"} <= {fact.jurisdiction for fact in facts()}


@pytest.mark.parametrize("kind", ["issued", "declined"])
def test_both_edges_of_the_week_have_events_inside(kind: str) -> None:
    instants = {counted_at(fact) for fact in inside(kind)}
    assert WEEK.begins_at in instants
    assert WEEK.ends_at - MICROSECOND in instants


@pytest.mark.parametrize("kind", ["issued", "declined"])
def test_both_edges_of_the_week_have_events_outside_in_ten_jurisdictions(kind: str) -> None:
    before = issued_before()
    outside = [fact for fact in facts() if fact.kind == kind and counted_at(fact) not in WEEK and fact not in before]
    assert Counter(counted_at(fact) for fact in outside) == {
        WEEK.begins_at - timedelta(seconds=1): 10,
        WEEK.ends_at: 10,
    }
    assert {fact.jurisdiction for fact in outside} == set(TOP)


def test_some_were_declined_more_than_a_year_after_they_were_issued() -> None:
    waited = [counted_at(fact) - instant(fact.issued_us) for fact in inside("declined")]
    assert sum(one > timedelta(days=365) for one in waited) > 5
    assert max(waited) < timedelta(days=3 * 366 + 5)
    assert sum(instant(fact.issued_us) not in WEEK for fact in inside("declined")) > 100


def test_each_declined_detainer_was_issued_before_and_that_does_not_count_in_the_week() -> None:
    before = {fact.detainer_id: fact for fact in issued_before()}
    assert len(before) == len(issued_before()) == ISSUED_BEFORE
    assert not [fact for fact in before.values() if counted_at(fact) in WEEK]
    for fact in facts():
        if fact.kind == "declined":
            issued = before[fact.detainer_id]
            assert (issued.issued_us, issued.jurisdiction) == (fact.issued_us, fact.jurisdiction)


def test_offenses_of_declines_range_from_impaired_driving_to_homicide() -> None:
    categories = {category for fact in inside("declined") for category, _ in fact.offenses or ()}
    assert {"90D", "13A", "09A"} <= categories


def test_some_offenses_are_unknown_and_some_people_have_several() -> None:
    declined = inside("declined")
    assert any(fact.offenses is None for fact in declined)
    assert any(fact.offenses == () for fact in declined)
    assert any(len(fact.offenses or ()) > 1 for fact in declined)


def test_not_all_custody_is_by_counties() -> None:
    assert {fact.operator for fact in facts()} == {"county", "city", "state", "federal"}


def test_the_header_note_names_a_demonstration() -> None:
    note = acceptance_week.header_note(FILE)
    assert note.startswith("Demonstration data")
    assert "synthetic" in note
    assert "#" not in note


HEADER = ",".join(acceptance_week.COLUMNS)
LINE = "32003,Clark County,NV,county,2,1,synthetic"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("figures.csv", [HEADER, LINE], "first day of the week"),
        ("2017-01-29.csv", [HEADER, LINE], "weeks start on Saturday"),
        ("9999-12-25.csv", [HEADER, LINE], "too close to the end of the calendar"),
        ("2017-02-31.csv", [HEADER, LINE], "day is out of range"),
        ("2017-01-28.csv", [LINE], "the first line"),
        ("2017-01-28.csv", [], "the first line"),
        ("2017-01-28.csv", [HEADER, LINE.replace(",2,", ",two,")], "row 1"),
        ("2017-01-28.csv", [HEADER, LINE, LINE.replace(",1,", ",-1,")], "row 2"),
        ("2017-01-28.csv", [HEADER, "32003,Clark County"], "row 1"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str, lines: list[str], expected: str) -> None:
    with pytest.raises(NotThisFileError, match=expected):
        list(acceptance_week.read(InputFile(write(tmp_path / name, *lines)), "demo", "x", CALENDAR))


def test_a_week_of_another_year_works_too(tmp_path: Path) -> None:
    path = write(tmp_path / "2023-03-11.csv", "# a comment", HEADER, LINE)
    found = list(acceptance_week.read(InputFile(path), "demo", "x", CALENDAR))
    assert len(found) == 3 + 4 + 3
    assert found[0].events[0].data["issued_at"] == "2023-03-11T05:00:00Z"
    declined = [row.events[0].data for row in found if row.events[0].kind == "declined"]
    assert datetime.fromisoformat(str(declined[-1]["recorded_at"])) == datetime(2023, 3, 18, 4, tzinfo=UTC)


def test_the_week_is_one_of_the_calendar_of_the_settings(tmp_path: Path) -> None:
    monday = tmp_path / "2017-01-30.csv"
    monday.write_bytes(FILE.read_bytes())
    berlin = ReportingCalendar(ZoneInfo("Europe/Berlin"), Weekday.MONDAY)
    week = berlin.week(date(2017, 1, 30))
    issued = [
        datetime.fromisoformat(str(row.events[0].data["issued_at"]))
        for row in acceptance_week.read(InputFile(monday), "demo", "x", berlin)
        if row.events[0].kind == "issued"
    ]
    assert sum(one in week for one in issued) == 3083
    assert min(one for one in issued if one in week) == week.begins_at
    with pytest.raises(NotThisFileError, match="weeks start on Monday"):
        list(acceptance_week.read(InputFile(FILE), "demo", "x", berlin))
