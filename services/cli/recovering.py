"""`ddor recover`: bring back what was published and the database lacks, after a restore from a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.terminal import out, run
from services.publisher import recovery
from services.publisher.snapshot import SQL
from services.publisher.store import Store
from services.runtime import kafka, postgres, settings


def recover(by: Annotated[str, typer.Option("--by", help="Who decides; kept in operator_action.")]) -> None:
    """Import from `report-ready` the revisions that the database lacks, so that numbers and chain go on from them.

    What the topic does not carry (the tables of a report) is served as it was announced, without them.
    """
    run(_recover(by))


async def _recover(by: str) -> None:
    loaded = settings.load()
    now = datetime.now(UTC)
    connection = await postgres.connect(loaded, "ddor-recover")
    try:
        store = Store(connection, loaded.calendar, loaded.hold)
        lacking = await recovery.missing(connection, recovery.announced(kafka.client(loaded, "ddor-recover")))
        async with connection.transaction():
            for one in lacking:
                await recovery.restore(connection, store, one, by, now)
            if lacking:
                names = [str(one) for one in lacking]
                await connection.execute(SQL["add_action"], by, "recover", "report", {"revisions": names})
    finally:
        await connection.close()
    for one in lacking:
        out.print(f"{one}: brought back, published {one.published_at:%Y-%m-%d %H:%M:%S}Z", highlight=False)
    if not lacking:
        out.print("nothing to recover: the database has every revision that was published")
