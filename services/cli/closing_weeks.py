"""What `ddor close` and `ddor history` share: which weeks a command may close, and the state of a close as text."""

from __future__ import annotations

import getpass
from datetime import date, datetime
from typing import Any

import asyncpg

from schemas.log import Vector
from services.cli.console import err
from services.cli.queries import SQL
from services.cli.weeks import week_of
from services.publisher.closing import Close
from services.publisher.desk import commands
from services.publisher.store import Store
from services.runtime.errors import CallerError
from services.runtime.settings import Settings


class CannotCloseError(CallerError):
    """The week cannot be closed by a command."""


def closable(week: str, loaded: Settings, now: datetime) -> date:
    """The first day of a week that a command may close. Raises CannotCloseError and NoSuchWeekError."""
    first = week_of(week, loaded)
    if now < (ends_at := loaded.calendar.week(first).ends_at):
        raise CannotCloseError(f"{first} has not ended: it ends at {ends_at.isoformat()}")
    if first < (earliest := loaded.calendar.earliest.first):
        raise CannotCloseError(f"{first} is before {earliest}, the earliest week that events may belong to")
    if closes_by_itself(first, loaded):
        raise CannotCloseError(f"{first} closes by itself: DDOR_FIRST_WEEK is {loaded.first_week or 'not set'}")
    return first


def closes_by_itself(week: date, loaded: Settings) -> bool:
    """Whether no command can close the week."""
    return loaded.first_week is None or week >= loaded.first_week


def system_user() -> str:
    """The name of the system's user. Raises CallerError if it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        raise CallerError("this system user has no name: add --by NAME") from None


async def describe(store: Store, close: Close) -> str:
    """The state of a close, and how many records the aggregators still have to count."""
    behind = (close.barrier or Vector()).shortfall((await store.positions()).vector)
    lacks = f"; {sum(behind.values()):,} records to count before the barrier" if behind else ""
    return f"{close.state}{lacks}"


async def print_held(connection: asyncpg.Connection[Any], week: date, close: Close) -> None:
    """Print why gates hold a week, and the command that releases it."""
    err.print(f"{week}: held until {close.held_until}; then it is published with flags:", highlight=False)
    for flag in await connection.fetchval(SQL["held_because"], week):
        line = f"  {flag['gate']}, {flag['subject']}: {flag['detail']}"
        err.print(line, highlight=False, soft_wrap=True)
    err.print(f"If the figures are right: {commands.release(week)}", highlight=False, soft_wrap=True)


def place_name(row: dict[str, Any]) -> str:
    """Name and state of a row of a report."""
    return f"{row['name']} {row['state']}".strip()
