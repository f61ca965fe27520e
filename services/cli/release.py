"""`ddor release WEEK`: publish a week that a gate holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.console import FAILED, err, impersonal, out, run
from services.cli.weeks import Week, week_of
from services.publisher.closing import State
from services.publisher.queries import SQL
from services.publisher.store import Store
from services.runtime import calendar, postgres, settings


def release(
    week: Week,
    by: Annotated[str, typer.Option("--by", callback=impersonal, help="Your name. Published in the report.")],
    note: Annotated[
        str, typer.Option("--note", callback=impersonal, help="What you checked. Published in the report.")
    ],
) -> None:
    """Publish a week that a gate holds. Your name and note become a sign-off in its report.

    Example: ddor release 2017-01-28 --by "A. Smith" --note "agency confirms the batch of December"

    'ddor status' shows the held weeks and why they are held.
    """
    run(_release(week, by, note))


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
