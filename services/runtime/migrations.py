"""Apply the numbered SQL files in `deploy/migrations` to a database.

A file never changes once it has been applied: the database stores its SHA-256, and `apply` fails if they differ.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import asyncpg

from services.runtime import migration_locks, roles
from services.runtime.errors import CallerError, ConfigurationError

_FOLDER = "deploy.migrations"
_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_LOCK = 0x64646F72  # "ddor": one migration at a time in a database
_SECONDS = 3_600.0
"""Timeout of one file: creating an index on a large table takes minutes."""
_NOT_NOW: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. Files are applied in the order of `number`; `sha256` is the hex digest of its text."""

    number: int
    name: str
    sql: str
    sha256: str

    @property
    def stem(self) -> str:
        """The name of the file without `.sql`."""
        return f"{self.number:04}_{self.name}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a file waits for its locks.

    A lock that waits blocks all later statements on the table. So each attempt waits for at most `lock_ms`; statements
    of the services proceed during `pause` seconds before the next one.
    """

    lock_ms: int = 2_000
    pause: float = 5.0
    attempts: int = 85
    """Ten minutes in all."""


PATIENCE: Final = Patience()


class TableBusyError(CallerError):
    """Another session has locked a table for as long as a migration waits."""


def migrations() -> list[Migration]:
    """All files, in order of their numbers."""
    found = []
    for entry in files(_FOLDER).iterdir():
        if match := _FILE.match(entry.name):
            sql = entry.read_text(encoding="utf-8")
            digest = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Migration(int(match[1]), match[2], sql, digest))
    return sorted(found, key=lambda migration: migration.number)


async def apply(
    connection: asyncpg.Connection[Any],
    schema: str = "ddor",
    patience: Patience = PATIENCE,
    tell: Callable[[str], None] = lambda _line: None,
) -> list[Migration]:
    """Apply the missing files to `schema`, each in its own transaction. Returns the files that were applied.

    If the schema belongs to `ddor_owner`, so do the new objects: the user must be a member, such as by `ddor_migrator`.
    `tell` is called with a line for each attempt that another session has blocked.

    Raises ConfigurationError if an applied file has changed or the database is newer than this program, and
    TableBusyError. Files that were applied before the error remain so.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_SECONDS)
    try:
        if await roles.are_installed(connection, schema):
            await connection.execute(f"SET ROLE {roles.OWNER}")
        else:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.migration (number integer PRIMARY KEY, name text NOT NULL,"
            " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        await connection.execute(f"SET search_path = {schema}")
        missing = _missing(await _applied(connection, schema))
        for migration in missing:
            await _patiently(connection, migration, patience, tell)
        return missing
    finally:
        await connection.execute("RESET ROLE")
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def pending(connection: asyncpg.Connection[Any]) -> list[Migration]:
    """The files that schema `ddor` lacks, in order. Changes nothing. Raises ConfigurationError as `apply`."""
    if await connection.fetchval("SELECT to_regclass('ddor.migration')") is None:
        return migrations()
    return _missing(await _applied(connection, "ddor"))


async def is_current(connection: asyncpg.Connection[Any]) -> bool:
    """Whether schema `ddor` has all files. Raises ConfigurationError as `apply`."""
    return not await pending(connection)


async def _patiently(
    connection: asyncpg.Connection[Any], migration: Migration, patience: Patience, tell: Callable[[str], None]
) -> None:
    for attempt in range(1, patience.attempts + 1):
        try:
            await _apply_one(connection, migration, patience.lock_ms)
        except _NOT_NOW as error:
            why = f"{migration.stem} waits for a lock: {await _blocker(connection, migration) or error.args[0]}"
            if attempt == patience.attempts:
                raise TableBusyError(f"{why}. End that session, then run `ddor migrate` again") from error
            tell(why)
            await asyncio.sleep(patience.pause)
        else:
            return


async def _apply_one(connection: asyncpg.Connection[Any], migration: Migration, lock_ms: int) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {lock_ms}")
        await connection.execute(migration.sql, timeout=_SECONDS)
        await connection.execute(
            "INSERT INTO migration (number, name, sha256) VALUES ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.sha256,
        )


async def _blocker(connection: asyncpg.Connection[Any], migration: Migration) -> str:
    """The oldest session with a lock on a table that the file locks: its process id, application and table."""
    effects = migration_locks.declared().get(migration.stem)
    row = await connection.fetchrow(
        "SELECT a.pid, a.application_name AS application, c.relname"
        " FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation"
        " WHERE l.granted AND a.pid <> pg_backend_pid() AND c.relnamespace = current_schema()::regnamespace"
        " AND c.relname = ANY($1) ORDER BY a.xact_start LIMIT 1",
        list(effects.tables) if effects else [],
    )
    if row is None:
        return ""
    return f"session {row['pid']} ({row['application'] or 'without a name'}) has a lock on {row['relname']}"


async def _applied(connection: asyncpg.Connection[Any], schema: str) -> dict[int, str]:
    rows = await connection.fetch(f"SELECT number, sha256 FROM {schema}.migration")  # noqa: S608 # a constant
    return {row["number"]: row["sha256"] for row in rows}


def _missing(applied: dict[int, str]) -> list[Migration]:
    known = {migration.number: migration for migration in migrations()}
    if newer := sorted(set(applied) - set(known)):
        raise ConfigurationError(f"the database has migration {newer[-1]:04}, which this release does not have")
    for number, sha256 in applied.items():
        if known[number].sha256 != sha256:
            raise ConfigurationError(f"migration {number:04}_{known[number].name}.sql was changed after it was applied")
    return [known[number] for number in sorted(set(known) - set(applied))]
