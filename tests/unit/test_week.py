"""schemas.week: the bounds of weeks, and the week of an instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instant import EARLIEST, LATEST, instant, microseconds
from schemas.week import NotAWeekError, ReportingCalendar, Weekday, WeekIndex

NEW_YORK = ReportingCalendar(ZoneInfo("America/New_York"))
MICROSECOND = timedelta(microseconds=1)
FIRST_REPORT = date(2017, 1, 28)

ZONES = (
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Beirut",
    "Pacific/Apia",
    "Pacific/Guam",
    "UTC",
)
"""Zones with changes at 2:00, at midnight and just after midnight, with a skipped day, and without changes."""
CALENDARS = {zone: (ReportingCalendar(ZoneInfo(zone)), WeekIndex(ReportingCalendar(ZoneInfo(zone)))) for zone in ZONES}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # year to second


@pytest.mark.parametrize(
    ("first", "begins", "ends", "hours"),
    [
        (date(2017, 1, 28), utc(2017, 1, 28, 5), utc(2017, 2, 4, 5), 168),
        (date(2017, 7, 1), utc(2017, 7, 1, 4), utc(2017, 7, 8, 4), 168),
        (date(2017, 3, 11), utc(2017, 3, 11, 5), utc(2017, 3, 18, 4), 167),
        (date(2017, 11, 4), utc(2017, 11, 4, 4), utc(2017, 11, 11, 5), 169),
    ],
    ids=["winter", "summer", "clocks go forward", "clocks go back"],
)
def test_a_week_lasts_from_local_midnight_to_local_midnight(
    first: date, begins: datetime, ends: datetime, hours: int
) -> None:
    week = NEW_YORK.week(first)
    assert (week.begins_at, week.ends_at, week.hours) == (begins, ends, hours)


@pytest.mark.parametrize("first", [date(2017, 1, 28), date(2017, 7, 1), date(2017, 3, 11), date(2017, 11, 4)])
def test_the_first_instant_is_inside_and_the_last_is_outside(first: date) -> None:
    week = NEW_YORK.week(first)
    assert week.begins_at in week
    assert week.begins_at - MICROSECOND not in week
    assert week.ends_at - MICROSECOND in week
    assert week.ends_at not in week
    assert NEW_YORK.week_of(week.begins_at) == week
    assert NEW_YORK.week_of(week.ends_at - MICROSECOND) == week
    assert NEW_YORK.week_of(week.begins_at - MICROSECOND).first == first - timedelta(days=7)
    assert NEW_YORK.week_of(week.ends_at) == NEW_YORK.next(week)


def test_an_instant_counts_by_its_moment_not_by_its_offset() -> None:
    in_tokyo = utc(2017, 1, 28, 5).astimezone(ZoneInfo("Asia/Tokyo"))
    assert NEW_YORK.week_of(in_tokyo).first == FIRST_REPORT


def test_a_week_is_named_by_its_first_date_and_ends_on_a_friday() -> None:
    week = NEW_YORK.week(FIRST_REPORT)
    assert str(week) == "2017-01-28"
    assert week.last == date(2017, 2, 3)


@pytest.mark.parametrize("days", range(1, 7))
def test_another_weekday_is_refused_and_the_message_names_the_week_that_contains_it(days: int) -> None:
    with pytest.raises(NotAWeekError, match="the week that contains it is 2017-01-28"):
        NEW_YORK.week(FIRST_REPORT + timedelta(days=days))


@pytest.mark.parametrize("first", [date.min, date(9999, 12, 25), date.max])
def test_at_the_ends_of_the_calendar_there_is_no_week(first: date) -> None:
    for zone in ("America/New_York", "Asia/Tokyo"):
        with pytest.raises(NotAWeekError, match=str(first)):
            ReportingCalendar(ZoneInfo(zone)).week(first)


@pytest.mark.parametrize("starts_on", list(Weekday))
def test_the_first_weekday_is_a_setting(starts_on: Weekday) -> None:
    calendar = ReportingCalendar(ZoneInfo("Europe/Berlin"), starts_on)
    week = calendar.week_of(utc(2017, 2, 1, 12))
    assert week.first.weekday() == starts_on
    assert week.begins_at.astimezone(calendar.zone).hour == 0
    assert calendar.week(week.first) == week


@given(
    zone=st.sampled_from(ZONES),
    starts_on=st.sampled_from(Weekday),
    instant=st.datetimes(datetime(1990, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_every_instant_is_in_exactly_one_week(zone: str, starts_on: Weekday, instant: datetime) -> None:
    calendar = ReportingCalendar(ZoneInfo(zone), starts_on)
    week = calendar.week_of(instant)
    after, before = calendar.next(week), calendar.week(week.first - timedelta(days=7))
    assert [instant in one for one in (before, week, after)] == [False, True, False]
    assert (before.ends_at, week.ends_at) == (week.begins_at, after.begins_at)
    assert before < week < after


def test_weeks_are_contiguous_over_thirty_years() -> None:
    week = NEW_YORK.week(date(2000, 1, 1))
    for _ in range(30 * 53):
        after = NEW_YORK.next(week)
        assert after.begins_at == week.ends_at
        assert week.hours in (167, 168, 169)
        week = after


@pytest.mark.parametrize("starts_on", [Weekday.SATURDAY, Weekday.MONDAY])
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia"])
def test_the_index_agrees_with_the_calendar_at_every_edge(zone: str, starts_on: Weekday) -> None:
    calendar = ReportingCalendar(ZoneInfo(zone), starts_on)
    index = WeekIndex(calendar)
    week = calendar.week_of(utc(1999, 1, 1))
    while week.first.year < 2036:
        begins = microseconds(week.begins_at)
        for us in (begins - 1, begins, begins + 1, begins + 3_600_000_000):
            assert index.first_day(us) == calendar.week_of(instant(us)).first
        week = calendar.next(week)


@given(
    zone=st.sampled_from(ZONES),
    us=st.integers(microseconds(EARLIEST), microseconds(LATEST) - 1),
)
def test_the_index_covers_every_instant_of_an_event(zone: str, us: int) -> None:
    calendar, index = CALENDARS[zone]
    for one in (us, microseconds(EARLIEST), microseconds(LATEST) - 1):
        assert index.first_day(one) == calendar.week_of(instant(one)).first
