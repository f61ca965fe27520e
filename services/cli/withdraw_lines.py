"""`ddor withdraw-lines WEEK`: withdraw the line lists of a week."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.console import FAILED, impersonal, out, run
from services.cli.weeks import Week, week_of
from services.publisher.queries import SQL
from services.runtime import calendar, postgres, settings


def withdraw_lines(
    week: Week,
    by: Annotated[str, typer.Option("--by", callback=impersonal, help="Your name. Stored beside the list's digest.")],
    reason: Annotated[
        str, typer.Option("--reason", callback=impersonal, help="Why you withdraw it. Stored beside the list's digest.")
    ],
) -> None:
    """Delete the line lists of a week (see DDOR_LINE_LIST). This cannot be undone.

    The reports do not change: they contain only the digests of the lists, so 'ddor verify' still succeeds.

    Exit code 1: the week has no line list.
    """
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
