"""The reporting week: Saturday 00:00 to Saturday 00:00 in one zone.

The zone and the first day are settings. The week of the first report (2017) ran from Saturday to Friday; a week has
167, 168 or 169 hours because clocks change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from zoneinfo import ZoneInfo

from schemas.instant import EARLIEST, LATEST, YEAR_2000, microseconds


class Weekday(IntEnum):
    """Days of the week, numbered like `date.weekday()`: ISO 8601 minus one."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


class NotAWeekError(ValueError):
    """This date is not the first day of a reporting week."""


@dataclass(frozen=True, slots=True, order=True)
class ReportingWeek:
    """One week, identified by its first date. `begins_at` and `ends_at` are UTC; the end is exclusive."""

    first: date
    begins_at: datetime = field(compare=False)
    ends_at: datetime = field(compare=False)

    @property
    def last(self) -> date:
        """The last day of the week (a Friday for weeks that start on Saturday)."""
        return self.first + timedelta(days=6)

    @property
    def hours(self) -> int:
        """The length in hours: 167, 168 or 169."""
        return round((self.ends_at - self.begins_at) / timedelta(hours=1))

    def __contains__(self, instant: datetime) -> bool:
        return self.begins_at <= instant < self.ends_at

    def __str__(self) -> str:
        return self.first.isoformat()


@dataclass(frozen=True, slots=True)
class ReportingCalendar:
    """Maps instants to weeks, and weeks to their bounds."""

    zone: ZoneInfo
    starts_on: Weekday = Weekday.SATURDAY

    def week_of(self, instant: datetime) -> ReportingWeek:
        """The week that contains `instant`, which must carry an offset."""
        local = instant.astimezone(self.zone).date()
        return self._week(local - timedelta(days=(local.weekday() - self.starts_on) % 7))

    def week(self, first: date) -> ReportingWeek:
        """The week that starts on `first`. Raises NotAWeekError if none does, or if it exceeds the calendar."""
        try:
            if first.weekday() == self.starts_on:
                return self._week(first)
            before = first - timedelta(days=(first.weekday() - self.starts_on) % 7)
        except OverflowError:
            raise NotAWeekError(f"{first}: too close to the end of the calendar") from None
        raise NotAWeekError(
            f"{first} is a {first:%A}; weeks start on {self.starts_on.name.title()}: "
            f"the week that contains it is {before}"
        )

    @property
    def earliest(self) -> ReportingWeek:
        """The first week that can have facts."""
        return self.week_of(YEAR_2000)

    def next(self, week: ReportingWeek) -> ReportingWeek:
        """The week after `week`."""
        return self._week(week.first + timedelta(days=7))

    def _week(self, first: date) -> ReportingWeek:
        return ReportingWeek(first, self.begin(first), self.begin(first + timedelta(days=7)))

    def begin(self, day: date) -> datetime:
        """The instant, in UTC, at which a day begins in the zone."""
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)


class WeekIndex:
    """Finds the week of an instant by bisecting integers. For hot paths.

    Covers the years that an event may have (1900 to 2199), as microseconds since 1970.
    """

    def __init__(self, calendar: ReportingCalendar) -> None:
        earliest = calendar.week_of(EARLIEST).first
        weeks = (LATEST.date() - earliest).days // 7 + 1
        self._firsts = [earliest + timedelta(days=7 * number) for number in range(weeks)]
        self._begins = [microseconds(calendar.begin(first)) for first in self._firsts]

    def first_day(self, us: int) -> date:
        """The first day of the week that contains this instant (microseconds since 1970, UTC)."""
        return self._firsts[bisect_right(self._begins, us) - 1]

    def begins_on(self, day: date) -> bool:
        """Whether a week begins on this day."""
        index = bisect_left(self._firsts, day)
        return index < len(self._firsts) and self._firsts[index] == day
