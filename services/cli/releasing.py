"""`ddor release`, `restate` and `withdraw-lines`: what an operator decides about a week, with name and words."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from services.cli.terminal import FAILED, err, out, run
from services.publisher.closing import State
from services.publisher.snapshot import SQL
from services.publisher.store import NO_REPORT, REFUSED, Store
from services.runtime import calendar, postgres, settings
from services.runtime.errors import CallerError
from services.runtime.settings import Settings

Week = Annotated[str, typer.Argument(help="First day of the week, such as 2017-01-28.")]
By = Annotated[str, typer.Option("--by", help="Your name; it stands in the report.")]


class NoSuchWeekError(CallerError):
    """This is not a reporting week."""


def week_of(text: str, loaded: Settings) -> date:
    """The week that starts on this day; NoSuchWeekError says which one does."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise NoSuchWeekError(f"{text!r} is no date: write the first day of a week, such as 2017-01-28") from None
    try:
        return loaded.calendar.week(day).first
    except (ValueError, OverflowError) as error:
        raise NoSuchWeekError(str(error)) from None


def release(
    week: Week, by: By, note: Annotated[str, typer.Option("--note", help="What you checked; it stands in the report.")]
) -> None:
    """Let a week go out that a gate holds. Name and note become a sign-off in its report."""
    run(_release(week, by, note))


def restate(
    week: Week,
    by: By,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the report.")],
    wait: Annotated[float, typer.Option(help="Seconds to wait for the publisher.")] = 60.0,
) -> None:
    """Publish the next revision of a week now, final or not, if any of its figures has changed."""
    run(_restate(week, by, reason, wait))


def withdraw_lines(
    week: Week, by: By, reason: Annotated[str, typer.Option("--reason", help="Why; kept beside the list's digest.")]
) -> None:
    """Take back the line lists of a week. The reports stand: they name the digests, and the chain still verifies."""
    run(_withdraw_lines(week, by, reason))


async def _withdraw_lines(text: str, by: str, reason: str) -> int:
    loaded = settings.load()
    week = week_of(text, loaded)
    connection = await postgres.connect(loaded, "ddor-withdraw-lines")
    try:
        await calendar.check(connection, loaded.calendar)
        async with connection.transaction():
            done = await connection.execute(SQL["withdraw_line_lists"], week, datetime.now(UTC), by, reason)
            count = int(done.rpartition(" ")[2])
            await connection.execute(SQL["add_action"], by, "withdraw-lines", str(week), {"reason": reason})
    finally:
        await connection.close()
    out.print(f"{week}: {count} line lists withdrawn")
    return 0 if count else FAILED


async def _release(text: str, by: str, note: str) -> int:
    loaded = settings.load()
    week = week_of(text, loaded)
    connection = await postgres.connect(loaded, "ddor-release")
    try:
        await calendar.check(connection, loaded.calendar)
        store = Store(connection, loaded.calendar, loaded.hold)
        if await store.release(week, by, note, datetime.now(UTC)):
            await connection.execute(SQL["add_action"], by, "release", str(week), {"note": note})
            out.print(f"{week}: released; the publisher writes its report")
            return 0
        close = (await store.closes()).get(week)
    finally:
        await connection.close()
    err.print(f"{week}: is {close.state if close else State.OPEN}, not held; nothing done")
    return FAILED


async def _restate(text: str, by: str, reason: str, wait: float) -> int:
    loaded = settings.load()
    week = week_of(text, loaded)
    connection = await postgres.connect(loaded, "ddor-restate")
    try:
        await calendar.check(connection, loaded.calendar)
        request = await connection.fetchval(SQL["request_restatement"], week, by, reason, datetime.now(UTC))
        await connection.execute(SQL["add_action"], by, "restate", str(week), {"reason": reason})
        try:
            async with asyncio.timeout(wait):
                outcome = None
                while outcome is None:
                    await asyncio.sleep(0.2)
                    outcome = await connection.fetchval(SQL["restatement_outcome"], request)
        except TimeoutError:
            err.print(f"{week}: the publisher has not answered within {wait:g} s; the request stands")
            return FAILED
    finally:
        await connection.close()
    out.print(f"{week}: {outcome}")
    return FAILED if outcome == NO_REPORT or outcome.startswith(REFUSED) else 0
