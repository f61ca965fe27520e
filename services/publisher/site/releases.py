"""The release calendar: which weeks close when, and which weeks are then revised. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from schemas.week import ReportingWeek
from services.publisher.site.about import About

WEEKS = 53
"""The number of weeks in the calendar: at least the next 12 months."""
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Release:
    """The close of one week. `closes_at` is UTC, `closes_local` the same instant in the reporting zone.

    `revised` are the first days of earlier weeks, newest first: each gets a scheduled revision if a figure has changed.
    """

    week: ReportingWeek
    closes_at: datetime
    closes_local: datetime
    revised: Sequence[date]


@dataclass(frozen=True, slots=True)
class ReleaseCalendar:
    """The next releases in order, and the weeks that are due and have no report yet."""

    releases: Sequence[Release]
    awaited: int
    awaited_from: date
    """The first of the awaited weeks, if there are any."""


def release_calendar(about: About, newest: date | None, now: datetime) -> ReleaseCalendar:
    """The calendar of an instant. `newest`: the newest published week from `first_week` on, None without one.

    Weeks from `first_week` on close in order, each after its end and the grace.
    """
    first = max(about.calendar.week_of(now - about.grace).first, about.first_week)
    unpublished = about.first_week if newest is None else newest + _WEEK
    return ReleaseCalendar(
        [_release(about, first + number * _WEEK) for number in range(WEEKS)],
        max(0, (first - unpublished) // _WEEK),
        unpublished,
    )


def _release(about: About, first: date) -> Release:
    week = about.calendar.week(first)
    closes_at = week.ends_at + about.grace
    before = [first - number * _WEEK for number in range(1, about.restatement_weeks + 1)]
    revised = [one for one in before if one >= about.first_week]
    return Release(week, closes_at, closes_at.astimezone(about.calendar.zone), revised)
