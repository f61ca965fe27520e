"""Apply the numbered SQL files in `deploy/migrations` to a database.

A file never changes once it has been applied: the database stores its SHA-256, and `apply` fails if they differ.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import asyncpg

from services.runtime import roles
from services.runtime.errors import ConfigurationError

_FOLDER = "deploy.migrations"
_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_LOCK = 0x64646F72  # "ddor": one migration at a time in a database
_SECONDS = 3_600.0
"""Timeout of one file: creating an index on a large table takes minutes."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. Files are applied in the order of `number`; `sha256` is the hex digest of its text."""

    number: int
    name: str
    sql: str
    sha256: str


def migrations() -> list[Migration]:
    """All files, in order of their numbers."""
    found = []
    for entry in files(_FOLDER).iterdir():
        if match := _FILE.match(entry.name):
            sql = entry.read_text(encoding="utf-8")
            digest = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Migration(int(match[1]), match[2], sql, digest))
    return sorted(found, key=lambda migration: migration.number)


async def apply(connection: asyncpg.Connection[Any], schema: str = "ddor") -> list[Migration]:
    """Apply the missing files to `schema`, each in its own transaction. Returns the files that were applied.

    If the schema belongs to `ddor_owner`, so do the new objects: the user must be a member, such as by `ddor_migrator`.

    Raises ConfigurationError if an applied file has changed or the database is newer than this program.
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
        rows = await connection.fetch("SELECT number, sha256 FROM migration")
        missing = _missing({row["number"]: row["sha256"] for row in rows})
        for migration in missing:
            async with connection.transaction():
                await connection.execute(migration.sql, timeout=_SECONDS)
                await connection.execute(
                    "INSERT INTO migration (number, name, sha256) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.sha256,
                )
        return missing
    finally:
        await connection.execute("RESET ROLE")
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def is_current(connection: asyncpg.Connection[Any]) -> bool:
    """Whether schema `ddor` has all files. Raises ConfigurationError as `apply`."""
    if await connection.fetchval("SELECT to_regclass('ddor.migration')") is None:
        return False
    rows = await connection.fetch("SELECT number, sha256 FROM ddor.migration")
    return not _missing({row["number"]: row["sha256"] for row in rows})


def _missing(applied: dict[int, str]) -> list[Migration]:
    known = {migration.number: migration for migration in migrations()}
    if newer := sorted(set(applied) - set(known)):
        raise ConfigurationError(f"the database has migration {newer[-1]:04}, which this release does not have")
    for number, sha256 in applied.items():
        if known[number].sha256 != sha256:
            raise ConfigurationError(f"migration {number:04}_{known[number].name}.sql was changed after it was applied")
    return [known[number] for number in sorted(set(known) - set(applied))]
