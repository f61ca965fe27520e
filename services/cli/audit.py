"""`ddor audit`: prove the whole ledger now."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from services.cli.closing_weeks import system_user
from services.cli.console import FAILED, err, impersonal, out, run
from services.publisher import audit as audits
from services.runtime import calendar, postgres, settings
from services.runtime.clock import system


def audit(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            callback=impersonal,
            help="Your name. Stored with the result. Default: the user name of this system.",
        ),
    ] = "",
) -> None:
    """Prove that the counters of all weeks equal the ledger, and that every record is accounted for.

    Example: ddor audit --by "A. Smith"

    The publisher does the same once a day. After a difference no week closes until an audit finds none. The result is
    stored in the table audit. Services can run meanwhile; it takes seconds for each ten million facts.

    Exit code 1: a difference was found.
    """
    run(_audit(by or system_user()))


async def _audit(by: str) -> int:
    loaded = settings.load()
    connection = await postgres.connect(loaded, "ddor-audit")
    try:
        await calendar.check(connection, loaded.calendar)
        with err.status(Text("reading the whole ledger")):
            done = await audits.run(connection, by, system)
    finally:
        await connection.close()
    if done.outcome:
        err.print(done.outcome, highlight=False, soft_wrap=True)
        return FAILED
    out.print(
        f"{done.records:,} records are accounted for, and the counters of all weeks equal the ledger", highlight=False
    )
    return 0
