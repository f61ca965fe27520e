"""`ddor migrate`: bring the database's schema to the newest."""

from __future__ import annotations

from deploy import migrations
from services.cli.terminal import out, run
from services.runtime import postgres, settings


def migrate() -> None:
    """Apply the SQL migrations that the database lacks. Safe to run at any time, by any number at once."""
    run(_migrate())


async def _migrate() -> None:
    connection = await postgres.connect(settings.load(), "ddor-migrate")
    try:
        applied = await migrations.apply(connection)
    finally:
        await connection.close()
    for migration in applied:
        out.print(f"applied {migration.number:04}_{migration.name}")
    if not applied:
        out.print("nothing to apply: the schema is the newest")
