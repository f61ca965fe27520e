"""`ddor close WEEK`: ask the publisher to close a week that does not close by itself, and wait for its report.

A week that a gate holds waits for a person, so the command does not wait for the week: it says what was found.
"""

from __future__ import annotations

import asyncio
import getpass
from datetime import UTC, date, datetime
from typing import Annotated, Any

import asyncpg
import typer
from rich.table import Table

from services.cli.releasing import week_of
from services.cli.resuming import SQL as OPERATORS
from services.cli.terminal import FAILED, err, out, run
from services.publisher import closing
from services.publisher.closing import Close, State
from services.publisher.snapshot import SQL
from services.publisher.store import Store
from services.runtime import calendar, postgres, settings
from services.runtime.errors import CallerError
from services.runtime.settings import Settings


class CannotCloseError(CallerError):
    """This week cannot be closed on request."""


def close(
    week: Annotated[str, typer.Argument(help="First day of the week, such as 2017-01-28.")],
    by: Annotated[str, typer.Option("--by", help="Who asks; kept with the week.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for the report; 0 asks and returns.")] = 120.0,
) -> None:
    """Close a week before DDOR_FIRST_WEEK: same barrier and same proof as any week, no grace."""
    run(_close(week, by or getpass.getuser(), wait))


async def _close(week: str, by: str, wait: float) -> int:
    loaded = settings.load()
    first = _closable(week, loaded, datetime.now(UTC))
    connection = await postgres.connect(loaded, "ddor-close")
    try:
        await calendar.check(connection, loaded.calendar)
        store = Store(connection, loaded.calendar, loaded.hold)
        await store.request(first, by, datetime.now(UTC))
        if wait <= 0:
            out.print(f"{first}: asked; the publisher closes it when every position has reached the barrier")
            return 0
        waiting = _Waiting(connection, store, first)
        try:
            async with asyncio.timeout(wait):
                report = await waiting.outcome()
        except TimeoutError:
            err.print(f"{waiting}; not closed within {wait:g} s, and the request stands", soft_wrap=True)
            return FAILED
    finally:
        await connection.close()
    if report is None:
        return FAILED
    _print(report)
    return 0


def _closable(week: str, loaded: Settings, now: datetime) -> date:
    first = week_of(week, loaded)
    if now < (ends_at := loaded.calendar.week(first).ends_at):
        raise CannotCloseError(f"{first} has not ended: it ends at {ends_at.isoformat()}")
    if loaded.first_week is None or first >= loaded.first_week:
        raise CannotCloseError(f"{first} closes by itself: DDOR_FIRST_WEEK is {loaded.first_week or 'not set'}")
    return first


class _Waiting:
    """For the first report of one week. As text: what it waits for, as last seen."""

    def __init__(self, connection: asyncpg.Connection[Any], store: Store, week: date) -> None:
        self._connection = connection
        self._store = store
        self._week = week
        self._seen = "no publisher has taken it up yet"

    def __str__(self) -> str:
        return f"{self._week}: {self._seen}"

    async def outcome(self) -> dict[str, Any] | None:
        """The report, once it is written and on its way; None, and what the gates found is said, when they hold it."""
        with err.status(str(self)) as status:
            while True:
                row: asyncpg.Record | None = await self._connection.fetchrow(SQL["report"], self._week, None, None)
                if row is not None and await self._connection.fetchval(SQL["outbox_oldest"]) is None:
                    return dict(row["figures"])
                close = (await self._store.closes()).get(self._week)
                if close is not None and close.state is State.HELD and close.holds(datetime.now(UTC)):
                    break
                if close is not None:
                    self._seen = await self._describe(close)
                status.update(str(self))
                await asyncio.sleep(0.2)
        await self._say_held(close)
        return None

    async def _describe(self, close: Close) -> str:
        behind = closing.shortfall(close.barrier or {}, (await self._store.positions()).vector)
        lacks = f"; {sum(behind.values()):,} records to count before the barrier" if behind else ""
        return f"{close.state}{lacks}"

    async def _say_held(self, close: Close) -> None:
        err.print(f"{self._week}: held until {close.held_until}; then it goes out with these flags:", highlight=False)
        for flag in await self._connection.fetchval(OPERATORS["held_because"], self._week):
            said = f"  {flag['gate']}, {flag['subject']}: {flag['detail']}"
            err.print(said, markup=False, highlight=False, soft_wrap=True)
        command = f'ddor release {self._week} --by "YOUR NAME" --note "WHAT YOU CHECKED"'
        err.print(f"When it is right as it is: {command}", markup=False, highlight=False, soft_wrap=True)


def _print(report: dict[str, Any]) -> None:
    totals, top = report["totals"], report["top"]
    out.print(f"[bold]Weekly detainer report[/bold], {report['week_start']} to {report['week_end']}", highlight=False)
    for note in report["notes"]:
        out.print(f"[italic]{note}[/italic]", highlight=False, soft_wrap=True)
    out.print(f"issued {totals['issued']:,}, declined {totals['declined']:,}", highlight=False)
    if top:
        most = ", ".join(f"{_place(row)} {row['declined']:,}" for row in top[:2])
        shares = f"{report['top_declined']:,} of {totals['declined']:,} declined in {len(top)} jurisdictions"
        out.print(f"{shares}; most: {most}", highlight=False, soft_wrap=True)
    table = Table("Jurisdiction")
    table.add_column("Code", no_wrap=True)
    table.add_column("Declined", justify="right")
    for row in top:
        table.add_row(_place(row), row["geoid"], f"{row['declined']:,}")
    out.print(table)
    out.print(f"digest {report['digest']}", highlight=False, soft_wrap=True)


def _place(row: dict[str, Any]) -> str:
    return f"{row['name']} {row['state']}".strip()
