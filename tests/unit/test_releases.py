"""services.publisher.site.releases and icalendar, and the page and file of the release calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from schemas.week import ReportingCalendar, Weekday
from services.publisher.closing import Close, Schedule, State
from services.publisher.site import icalendar
from services.publisher.site.releases import WEEKS, ReleaseCalendar, release_calendar
from tests.unit.sample_reader import ABOUT, Pool, reading
from tests.unit.test_rendering import Page

WEEK = timedelta(days=7)
FIRST = ABOUT.first_week


def calendar(now: datetime, newest: date | None = None, **changes: object) -> ReleaseCalendar:
    return release_calendar(replace(ABOUT, **changes), newest, now)  # type: ignore[arg-type]  # fields by name


def test_the_first_release_is_the_next_close() -> None:
    close = datetime(2017, 2, 5, 5, tzinfo=UTC)  # Saturday 00:00 in New York, and the grace
    assert calendar(close - timedelta(seconds=1)).releases[0].week.first == date(2017, 1, 28)
    assert calendar(close - timedelta(seconds=1)).releases[0].closes_at == close
    assert calendar(close).releases[0].week.first == date(2017, 2, 4)


@pytest.mark.parametrize("day", ["2017-02-07", "2017-03-11", "2017-11-04", "2017-12-30", "2024-02-27"])
@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"])
def test_the_releases_are_the_closes_of_the_publisher(zone: str, day: str) -> None:
    """Also around changes of the clock and the end of a year."""
    settings = replace(ABOUT, calendar=ReportingCalendar(ZoneInfo(zone), Weekday.SUNDAY), first_week=date(2017, 1, 29))
    now = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    closes: dict[date, Close] = {}
    made = release_calendar(settings, None, now)
    week = settings.first_week
    while week < made.releases[0].week.first:
        closes[week], week = Close(State.PUBLISHED), week + WEEK
    for one in made.releases:
        schedule = Schedule(settings.calendar, settings.first_week, settings.grace, closes)
        assert (schedule.next_scheduled, schedule.due) == (one.week, one.closes_at)
        assert one.closes_at > now
        closes[one.week.first] = Close(State.PUBLISHED)
    assert len(made.releases) == WEEKS
    assert made.releases[-1].closes_at - now > timedelta(days=364)


def test_the_local_time_of_a_close_follows_the_clock() -> None:
    """The week before the change of 12 March 2017 is 168 hours, the next 167: UTC moves, local time does not."""
    made = calendar(datetime(2017, 3, 1, tzinfo=UTC)).releases[:3]
    assert [f"{one.closes_local:%Y-%m-%d %H:%M %Z}" for one in made] == [
        "2017-03-05 00:00 EST",
        "2017-03-12 00:00 EST",
        "2017-03-19 00:00 EDT",
    ]
    assert [one.closes_at.hour for one in made] == [5, 5, 4]
    assert [one.week.hours for one in made] == [168, 168, 167]


def test_a_grace_that_spans_a_change_of_the_clock_is_elapsed_time() -> None:
    made = calendar(datetime(2017, 3, 11, 6, tzinfo=UTC), grace=timedelta(hours=36)).releases[0]
    assert f"{made.closes_local:%Y-%m-%d %H:%M %Z}" == "2017-03-12 13:00 EDT", "12 hours and the lost one"


def test_the_weeks_before_are_revised_from_the_first_week_on() -> None:
    made = calendar(datetime(2017, 2, 1, tzinfo=UTC), restatement_weeks=3).releases
    assert [list(map(str, one.revised)) for one in made[:5]] == [
        [],
        ["2017-01-28"],
        ["2017-02-04", "2017-01-28"],
        ["2017-02-11", "2017-02-04", "2017-01-28"],
        ["2017-02-18", "2017-02-11", "2017-02-04"],
    ]
    assert not any(one.revised for one in calendar(datetime(2017, 2, 1, tzinfo=UTC), restatement_weeks=0).releases)


def test_a_calendar_before_the_first_week_begins_with_it() -> None:
    made = calendar(datetime(2015, 1, 1, tzinfo=UTC))
    assert (made.releases[0].week.first, made.awaited) == (FIRST, 0)


@pytest.mark.parametrize(
    ("newest", "awaited", "first"),
    [
        (None, 5, FIRST),
        (date(2017, 2, 4), 3, date(2017, 2, 11)),
        (date(2017, 2, 25), 0, None),
        (date(2017, 3, 4), 0, None),
    ],
)
def test_due_weeks_without_a_report_are_counted(newest: date | None, awaited: int, first: date | None) -> None:
    made = calendar(datetime(2017, 3, 6, tzinfo=UTC), newest)
    assert made.awaited == awaited
    assert made.releases[0].week.first == date(2017, 3, 4)
    if first:
        assert made.awaited_from == first


def properties(content: bytes) -> list[tuple[str, str]]:
    """The properties of a calendar, after the rules of RFC 5545 on lines."""
    text = content.decode("ascii")
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    assert all(0 < len(line) <= 75 for line in text.removesuffix("\r\n").split("\r\n"))
    unfolded = text.removesuffix("\r\n").replace("\r\n ", "").split("\r\n")
    return [(name.partition(";")[0], value) for name, _, value in (line.partition(":") for line in unfolded)]


def test_the_file_is_a_calendar_with_an_event_for_each_release() -> None:
    made = calendar(datetime(2017, 2, 7, tzinfo=UTC), restatement_weeks=3).releases
    found = properties(icalendar.icalendar(made))
    assert [found[0], found[-1]] == [("BEGIN", "VCALENDAR"), ("END", "VCALENDAR")]
    assert {"VERSION", "PRODID"} <= {name for name, _ in found[: found.index(("BEGIN", "VEVENT"))]}
    starts = [number for number, one in enumerate(found) if one == ("BEGIN", "VEVENT")]
    events = [dict(found[start + 1 : found.index(("END", "VEVENT"), start)]) for start in starts]
    assert len(events) == len({event["UID"] for event in events}) == WEEKS
    assert all({"UID", "DTSTAMP", "DTSTART", "SUMMARY", "DESCRIPTION"} <= event.keys() for event in events)
    assert [event["DTSTART"] for event in events[:2]] == ["20170212T050000Z", "20170219T050000Z"]
    assert events[0]["DTSTAMP"] == "20170205T050000Z", "the close before"
    assert events[1]["DESCRIPTION"] == (
        "First report of the week from 2017-02-11 to 2017-02-17.\\nScheduled revisions\\, if a figure has changed: the"
        " weeks from 2017-01-28 to 2017-02-04.\\nA close waits for evidence and can be later."
    )


def test_an_event_has_the_same_id_in_each_calendar_and_a_calendar_the_same_bytes_until_the_next_close() -> None:
    def content(now: datetime) -> bytes:
        return icalendar.icalendar(calendar(now).releases)

    def ids(found: bytes) -> list[str]:
        return [value for name, value in properties(found) if name == "UID"]

    early = content(datetime(2017, 2, 7, tzinfo=UTC))
    assert early == content(datetime(2017, 2, 11, tzinfo=UTC))
    late = content(datetime(2017, 2, 14, tzinfo=UTC))
    assert ids(late)[:-1] == ids(early)[1:]


async def test_the_calendar_is_a_page_and_a_file() -> None:
    async with reading(Pool()) as http:
        page, file = await http.get("/calendar"), await http.get("/calendar.ics")
        again = await http.get("/calendar.ics", headers={"If-None-Match": file.headers["etag"]})
    rows = next(iter(Page(page.content).tables.values()))
    assert len(rows) == 1 + WEEKS
    assert rows[1] == [
        "2017-02-04 to 2017-02-10",
        "Sun 2017-02-12 00:00 EST\n2017-02-12 05:00 UTC",
        "2017-01-28",
    ]
    assert "Due and not published yet" not in page.text
    assert "24 hours have passed" in page.text
    assert file.headers["content-type"] == "text/calendar; charset=utf-8"
    assert again.status_code == 304


async def test_the_page_names_weeks_that_are_due_and_not_published() -> None:
    pool = Pool()
    pool.row = None
    async with reading(pool) as http:
        page = await http.get("/calendar")
    assert "Due and not published yet: the week of 2017-01-28." in page.text
