"""`ddor recover`: import published revisions that the database lacks, after a restore from a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.console import impersonal, out, run
from services.publisher import announcements, recovery
from services.publisher.queries import SQL
from services.publisher.store import Store
from services.runtime import kafka, postgres, settings


def recover(
    by: Annotated[
        str, typer.Option("--by", callback=impersonal, help="Your name. Stored in the table operator_action.")
    ],
    disregard: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC/PARTITION/OFFSET",
            help="Skip this unreadable record of report-ready from now on. Look at it first: it must not announce a"
            " report. Example: report-ready/0/17",
        ),
    ] = None,
) -> None:
    """Import the published revisions that the database lacks from the topic report-ready.

    Run it after a restore from a backup, when the publisher reports RecoveryNeededError. Later revisions then continue
    the numbers and the chain of digests.

    Recovered reports lack the tables that announcements do not contain, and 'ddor verify' cannot verify them.
    """
    run(_recover(by, disregard))


async def _recover(by: str, disregard: str | None) -> None:
    loaded = settings.load()
    now = datetime.now(UTC)
    connection = await postgres.connect(loaded, "ddor-recover")
    client = kafka.client(loaded, "ddor-recover")
    try:
        if disregard is not None:
            await recovery.disregard(connection, client, disregard, by)
            out.print(f"{disregard}: skipped from now on", markup=False, highlight=False)
        store = Store(connection, loaded.calendar, loaded.hold)
        lacking = await recovery.missing(connection, announcements.read(client))
        async with connection.transaction():
            for one in lacking:
                await recovery.restore(connection, store, one, by, now)
            if lacking:
                names = [str(one) for one in lacking]
                await connection.execute(SQL["add_action"], by, "recover", "report", {"revisions": names})
    finally:
        await connection.close()
    for one in lacking:
        out.print(f"{one}: recovered, published {one.published_at:%Y-%m-%d %H:%M:%S}Z", highlight=False)
    if not lacking:
        out.print("nothing to recover: the database has every revision that was published")
