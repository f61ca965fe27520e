"""The reporting calendar of a database: the weeks of all that is counted in it follow from one zone and one first day.

Each process has the calendar of its own settings. Two that differ would put facts between two midnights into different
weeks, and no sum would show it.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from schemas.week import ReportingCalendar
from services.runtime.errors import ConfigurationError


class CalendarDiffersError(ConfigurationError):
    """The settings of this process have another calendar than the database."""


async def keep(connection: asyncpg.Connection[Any], calendar: ReportingCalendar) -> None:
    """Write the calendar into a database that has none; CalendarDiffersError where it has another.

    Of several at once one writes; the others compare with what it wrote.
    """
    await connection.execute(
        "INSERT INTO reporting_calendar (zone, starts_on) VALUES ($1, $2) ON CONFLICT DO NOTHING", *_kept(calendar)
    )
    await check(connection, calendar)


async def check(connection: asyncpg.Connection[Any], calendar: ReportingCalendar) -> None:
    """CalendarDiffersError where the database has another calendar. It may have none yet: a service writes it."""
    row = await connection.fetchrow("SELECT zone, starts_on FROM reporting_calendar")
    here = _kept(calendar)
    if row is not None and tuple(row) != here:
        zone, starts_on = row
        raise CalendarDiffersError(
            f"this process has weeks from {here[1]} in {here[0]}, the database from {starts_on} in {zone}: set"
            f" DDOR_ZONE={zone} and DDOR_WEEK_STARTS_ON={starts_on}, which stay as they are once facts are counted"
        )


def _kept(calendar: ReportingCalendar) -> tuple[str, str]:
    return calendar.zone.key, calendar.starts_on.name
