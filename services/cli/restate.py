"""`ddor restate WEEK`: publish the next revision of a week now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.console import FAILED, err, impersonal, out, run
from services.cli.weeks import Week, week_of
from services.publisher.queries import SQL
from services.publisher.store import NO_REPORT, REFUSED
from services.runtime import calendar, postgres, settings


def restate(
    week: Week,
    by: Annotated[str, typer.Option("--by", callback=impersonal, help="Your name. Published in the report.")],
    reason: Annotated[
        str, typer.Option("--reason", callback=impersonal, help="Why you restate the week. Published in the report.")
    ],
    wait: Annotated[float, typer.Option(help="How long to wait for the publisher, in seconds.")] = 60.0,
) -> None:
    """Publish the next revision of a week now, if any of its figures has changed. The week may be final.

    Example: ddor restate 2017-01-28 --by "A. Smith" --reason "the agency corrected 12 records"

    Exit code 1: the week has no report yet, the publisher refuses the revision, or did not respond in time. A request
    without a response stays in effect.
    """
    run(_restate(week, by, reason, wait))


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
            err.print(
                f"{week}: no response from the publisher within {wait:g} s; the request stays in effect. Check that"
                " a publisher runs (`ddor status`)",
                soft_wrap=True,
            )
            return FAILED
    finally:
        await connection.close()
    out.print(f"{week}: {outcome}")
    return FAILED if outcome == NO_REPORT or outcome.startswith(REFUSED) else 0
