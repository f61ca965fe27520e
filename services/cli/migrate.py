"""`ddor migrate`: bring the database's schema up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import asyncpg
import typer

from services.cli.console import FAILED, err, out, run
from services.runtime import migration_locks, migrations, postgres, roles, settings
from services.runtime.migration_locks import Effects, TableEffect

_UP_TO_DATE = "nothing to apply: the schema is up to date"


def migrate(
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print what the command would do to each table, and change nothing. Exit code 1 if anything."
        ),
    ] = False,
) -> None:
    """Apply the SQL migrations that the database lacks, and renew the rights of the roles, if there are any.

    Run it before the services of a new version start; services of the previous version may run (docs/upgrading.md).
    It may run at any time and in several processes at once.

    A migration waits two seconds for a lock, then lets other sessions proceed and tries again, for ten minutes.
    """
    run(_plan() if plan else _migrate())


async def _migrate() -> None:
    connection = await postgres.connect(settings.load(), "ddor-migrate")
    try:
        applied = await migrations.apply(connection, tell=lambda line: err.print(line, highlight=False, soft_wrap=True))
        if await roles.are_installed(connection):
            await roles.grant(connection)
    finally:
        await connection.close()
    for migration in applied:
        out.print(f"applied {migration.stem}")
    if not applied:
        out.print(_UP_TO_DATE)


async def _plan() -> int:
    connection = await postgres.connect(settings.load(), "ddor-migrate")
    try:
        async with connection.transaction(readonly=True):
            if await roles.are_installed(connection):
                await connection.execute(f"SET LOCAL ROLE {roles.OWNER}")
            pending = await migrations.pending(connection)
            rows = await estimated_rows(connection)
    finally:
        await connection.close()
    declared = migration_locks.declared()
    for migration in pending:
        for line in plan_lines(migration.stem, declared[migration.stem], rows):
            out.print(line, highlight=False, soft_wrap=True)
    if not pending:
        out.print(_UP_TO_DATE)
    return FAILED if pending else 0


async def estimated_rows(connection: asyncpg.Connection[Any]) -> dict[str, int]:
    """Estimated rows by table, -1 if PostgreSQL has no estimate yet."""
    found = await connection.fetch(
        "SELECT relname, reltuples::bigint AS rows FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = to_regnamespace('ddor')"
    )
    return {row["relname"]: row["rows"] for row in found}


def plan_lines(name: str, effects: Effects, rows: Mapping[str, int]) -> Iterator[str]:
    """The lines of one migration. `rows`: estimated rows by table, -1 for unknown; a later table is absent."""
    yield f"{name}: {effects.changes}"
    for table, effect in effects.tables.items():
        yield f"  {table}: {effect.mode}, {effect.waiting}; {_work(effect, rows.get(table, 0))}"
    if not effects.tables:
        yield "  locks no existing table"


def _work(effect: TableEffect, rows: int) -> str:
    number = "all rows" if rows < 0 else f"{rows:,} rows"
    if effect.rewrites:
        return f"rewrites {number}"
    return f"reads {number}" if effect.reads else "reads no rows"
