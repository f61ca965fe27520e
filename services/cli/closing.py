"""`ddor close WEEK`: ask the publisher to close a week that does not close by itself, and wait for its report."""

from __future__ import annotations

import asyncio
import getpass
from datetime import UTC, date, datetime
from typing import Annotated, Any

import asyncpg
import typer
from rich.table import Table

from services.cli.terminal import FAILED, err, out, run
from services.publisher import closing
from services.publisher.closing import State
from services.publisher.snapshot import SQL
from services.publisher.store import Store
from services.runtime import postgres, settings
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
    first = _closable(week, loaded)
    connection = await postgres.connect(loaded, "ddor-close")
    try:
        store = Store(connection, loaded.calendar, loaded.hold)
        await store.request(first, by, datetime.now(UTC))
        if wait <= 0:
            out.print(f"{first}: asked; the publisher closes it when every position has reached the barrier")
            return 0
        try:
            async with asyncio.timeout(wait):
                row = await _published(connection, store, first)
        except TimeoutError:
            err.print(f"{first}: not closed within {wait:g} s; the request stands. `ddor status` says what is late.")
            return FAILED
        _print(row["figures"])
        return 0
    finally:
        await connection.close()


def _closable(week: str, loaded: Settings) -> date:
    try:
        first = loaded.calendar.week(date.fromisoformat(week))
    except ValueError as error:
        raise CannotCloseError(str(error)) from None
    if loaded.first_week is None or first.first >= loaded.first_week:
        raise CannotCloseError(f"{first} closes by itself: DDOR_FIRST_WEEK is {loaded.first_week or 'not set'}")
    return first.first


async def _published(connection: asyncpg.Connection[Any], store: Store, week: date) -> asyncpg.Record:
    """Wait until the first report is written and on its way; shows what it waits for."""
    with err.status(f"{week}: waiting for the publisher") as status:
        while True:
            row: asyncpg.Record | None = await connection.fetchrow(SQL["report"], week, None, None)
            if row is not None and await connection.fetchval(SQL["outbox_oldest"]) is None:
                return row
            close = (await store.closes()).get(week)
            if close is not None and close.barrier is not None:
                behind = closing.shortfall(close.barrier, (await store.positions()).vector)
                held = ": held by a gate; see `ddor status`, then `ddor release`" if close.state is State.HELD else ""
                status.update(f"{week}: {sum(behind.values()):,} records to count before the barrier{held}")
            await asyncio.sleep(0.2)


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
    table = Table("Jurisdiction", "Code")
    table.add_column("Declined", justify="right")
    for row in top:
        table.add_row(_place(row), row["geoid"], f"{row['declined']:,}")
    out.print(table)
    out.print(f"digest {report['digest']}", highlight=False, soft_wrap=True)


def _place(row: dict[str, Any]) -> str:
    return f"{row['name']} {row['state']}".strip()
