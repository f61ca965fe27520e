"""`ddor close WEEK`: close a week that does not close by itself, and wait for its report.

The command does not wait for a week that a gate holds, because only a person can release it. It prints the reasons.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Annotated, Any

import asyncpg
import typer
from rich.text import Text

from services.cli.closing_weeks import closable, describe, place_name, print_held, system_user
from services.cli.console import FAILED, err, impersonal, out, run, styled, table
from services.cli.weeks import Week
from services.publisher.closing import State
from services.publisher.queries import SQL
from services.publisher.store import Store
from services.runtime import calendar, postgres, settings


def close(
    week: Week,
    by: Annotated[
        str,
        typer.Option(
            "--by", callback=impersonal, help="Your name. Stored with the week. Default: the user name of this system."
        ),
    ] = "",
    wait: Annotated[
        float, typer.Option(help="How long to wait for the report, in seconds. 0: request the close and return.")
    ] = 120.0,
) -> None:
    """Close a week before DDOR_FIRST_WEEK and print its report. Later weeks close by themselves.

    Example: ddor close 2014-10-11

    The publisher closes the week when all events sent before this command are counted. There is no grace period.

    Exit code 1: a gate holds the week (see 'ddor release'), or the report was not written in time. The request stays in
    effect.
    """
    run(_close(week, by, wait))


async def _close(week: str, by: str, wait: float) -> int:
    loaded = settings.load()
    first = closable(week, loaded, datetime.now(UTC))
    by = by or system_user()
    connection = await postgres.connect(loaded, "ddor-close")
    try:
        await calendar.check(connection, loaded.calendar)
        store = Store(connection, loaded.calendar, loaded.hold)
        await store.request(first, by, datetime.now(UTC))
        if wait <= 0:
            out.print(f"{first}: requested; the publisher closes it when all events sent until now are counted")
            return 0
        waiting = _Waiting(connection, store, first)
        try:
            async with asyncio.timeout(wait):
                report = await waiting.outcome()
        except TimeoutError:
            err.print(f"{waiting}; not closed within {wait:g} s; the request stays in effect", soft_wrap=True)
            return FAILED
    finally:
        await connection.close()
    if report is None:
        return FAILED
    _print(report)
    return 0


class _Waiting:
    """Waits for the first report of one week. As text: the last known state of the week."""

    def __init__(self, connection: asyncpg.Connection[Any], store: Store, week: date) -> None:
        self._connection = connection
        self._store = store
        self._week = week
        self._seen = "no publisher has started to close it"

    def __str__(self) -> str:
        return f"{self._week}: {self._seen}"

    async def outcome(self) -> dict[str, Any] | None:
        """The report, as soon as it is written and sent. None if gates hold the week; their findings are printed."""
        with err.status(Text(str(self))) as status:
            while True:
                row: asyncpg.Record | None = await self._connection.fetchrow(SQL["report"], self._week, None)
                if row is not None and await self._connection.fetchval(SQL["is_sent"], self._week):
                    return dict(row["figures"])
                close = (await self._store.closes()).get(self._week)
                if close is not None and close.state is State.HELD and close.holds(datetime.now(UTC)):
                    break
                if close is not None:
                    self._seen = await describe(self._store, close)
                status.update(Text(str(self)))
                await asyncio.sleep(0.2)
        await print_held(self._connection, self._week, close)
        return None


def _print(report: dict[str, Any]) -> None:
    totals, top = report["totals"], report["top"]
    days = f", {report['week_start']} to {report['week_end']}"
    out.print(styled("bold", "Weekly detainer report", days), highlight=False)
    for note in report["notes"]:
        out.print(styled("italic", note), highlight=False, soft_wrap=True)
    out.print(f"issued {totals['issued']:,}, declined {totals['declined']:,}", highlight=False)
    if top:
        most = ", ".join(f"{place_name(row)} {row['declined']:,}" for row in top[:2])
        shares = f"{report['top_declined']:,} of {totals['declined']:,} declined in {len(top)} jurisdictions"
        out.print(f"{shares}; most: {most}", highlight=False, soft_wrap=True)
    shown = table("Jurisdiction", "Code", ">Declined")
    for row in top:
        shown.add_row(place_name(row), row["geoid"], f"{row['declined']:,}")
    out.print(shown)
    out.print(f"digest {report['digest']}", highlight=False, soft_wrap=True)
