"""The reporting calendar of a database: one time zone and one first day of the week for all facts in it.

Each process has a calendar from its own settings and zone rules. Two processes with different calendars would assign
facts near midnight to different weeks, which no sum would reveal. The start of each week from 1970 to 2100 is compared
by a digest: another zone or release with the same weeks is the same calendar.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import asyncpg

from schemas import week_bounds
from schemas.week import ReportingCalendar
from services.runtime.errors import ConfigurationError

_NAMED = 4
"""Number of different weeks that the error lists. If there are more, it also lists the last one."""


class CalendarDiffersError(ConfigurationError):
    """The settings or zone rules of this process yield a different calendar from the database's."""


async def keep(connection: asyncpg.Connection[Any], calendar: ReportingCalendar) -> None:
    """Store the calendar in a database that has none. Raises CalendarDiffersError if it has a different one.

    Concurrent calls are safe: one stores the calendar, the others compare theirs with it. A calendar stored by an older
    release has no bounds; they are added.
    """
    bounds = week_bounds.text(calendar)
    values = (*_stored(calendar), week_bounds.digest(bounds), bounds)
    await connection.execute(
        "INSERT INTO reporting_calendar (zone, starts_on, bounds_sha256, bounds) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        *values,
    )
    await connection.execute(
        "UPDATE reporting_calendar SET bounds_sha256 = $3, bounds = $4"
        " WHERE zone = $1 AND starts_on = $2 AND bounds_sha256 IS NULL",
        *values,
    )
    await check(connection, calendar)


async def check(connection: asyncpg.Connection[Any], calendar: ReportingCalendar) -> None:
    """Raise CalendarDiffersError if the database has a different calendar. Having none is fine: a service stores it."""
    row = await connection.fetchrow("SELECT zone, starts_on, bounds_sha256, bounds FROM reporting_calendar")
    if row is None:
        return
    zone, starts_on, sha256, theirs = row
    named, bounds = _stored(calendar), week_bounds.text(calendar)
    if named == (zone, starts_on) if sha256 is None else sha256 == week_bounds.digest(bounds):
        return
    if named == (zone, starts_on):
        weeks = week_bounds.differing(bounds, theirs)
        raise CalendarDiffersError(
            f"the rules of {zone} in this process differ from the database's: {_list(weeks)} begin or end at"
            " a different instant. Run the same release in all processes; see docs/settings.md, The calendar"
        )
    raise CalendarDiffersError(
        f"weeks start on {named[1]} in {named[0]} in this process, but on {starts_on} in {zone} in the database: set"
        f" DDOR_ZONE={zone} and DDOR_WEEK_STARTS_ON={starts_on}; the calendar cannot change once facts are counted"
    )


def _stored(calendar: ReportingCalendar) -> tuple[str, str]:
    return calendar.zone.key, calendar.starts_on.name


def _list(weeks: Sequence[date]) -> str:
    """The different weeks, abbreviated."""
    if len(weeks) == 1:
        return f"the week {weeks[0]}"
    named = ", ".join(str(week) for week in weeks[:_NAMED])
    more = f" and {len(weeks) - _NAMED} more until {weeks[-1]}" if len(weeks) > _NAMED else ""
    return f"the weeks {named}{more}"
