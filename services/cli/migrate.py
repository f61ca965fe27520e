"""`ddor migrate`: bring the database's schema up to date."""

from __future__ import annotations

from services.cli.console import out, run
from services.runtime import migrations, postgres, roles, settings


def migrate() -> None:
    """Apply the SQL migrations that the database lacks, and renew the rights of the roles, if there are any.

    Run it before the services of a new version start. It may run at any time and in several processes at once.
    """
    run(_migrate())


async def _migrate() -> None:
    connection = await postgres.connect(settings.load(), "ddor-migrate")
    try:
        applied = await migrations.apply(connection)
        if await roles.are_installed(connection):
            await roles.grant(connection)
    finally:
        await connection.close()
    for migration in applied:
        out.print(f"applied {migration.number:04}_{migration.name}")
    if not applied:
        out.print("nothing to apply: the schema is up to date")
