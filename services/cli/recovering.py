"""`ddor recover`: bring back what was published and the database lacks, after a restore from a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.terminal import out, run
from services.publisher import recovery
from services.publisher.snapshot import SQL
from services.runtime import kafka, postgres, settings


def recover(by: Annotated[str, typer.Option("--by", help="Who decides; kept in operator_action.")]) -> None:
    """Import from `report-ready` the revisions that the database lacks, so that numbers and chain go on from them.

    What the topic does not carry (the tables of a report) is served as it was announced, without them.
    """
    run(_recover(by))


async def _recover(by: str) -> None:
    loaded = settings.load()
    connection = await postgres.connect(loaded, "ddor-recover")
    try:
        listed = await recovery.announced(kafka.client(loaded, "ddor-recover"))
        lacking = await recovery.missing(connection, listed)
        async with connection.transaction():
            for one in lacking:
                await recovery.restore(connection, one)
            if lacking:
                names = [f"{one.week}@{one.revision}" for one in lacking]
                await connection.execute(SQL["add_action"], by, "recover", "report", {"revisions": names})
    finally:
        await connection.close()
    for one in lacking:
        published = datetime.fromtimestamp(one.timestamp_ms / 1000, UTC)
        out.print(f"{one.week} revision {one.revision}: brought back, published {published:%Y-%m-%d %H:%M:%S}Z")
    if not lacking:
        out.print("nothing to recover: the database has every revision that was published")
