"""Kafka and PostgreSQL servers that are deleted after use, and databases."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg

from deploy.local.databases import ensure_database, run_on_server
from deploy.local.parts import Part, PostgresPart
from services.runtime import migrations

_P = TypeVar("_P", bound=Part)


@contextmanager
def started(part: _P) -> Iterator[_P]:
    """Start the part; afterwards stop it and delete its data."""
    try:
        part.start()
        yield part
    finally:
        part.destroy()


@contextmanager
def new_database(part: PostgresPart, template: str = "template0") -> Iterator[str]:
    """The DSN of a new database, which is dropped afterwards. A copy of `template`; by default it has no tables."""
    name = f"ddor_test_{secrets.token_hex(6)}"
    try:
        yield ensure_database(part.dsn, name, template)
    finally:
        drop_database(part.dsn, name)


def drop_database(dsn: str, name: str) -> None:
    """Drop database `name` if it exists, and end its connections. `dsn` opens another database of the server."""

    async def drop(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    run_on_server(dsn, drop)


async def migrated(dsn: str) -> str:
    """Apply all migrations. Returns the DSN."""
    connection = await asyncpg.connect(dsn)
    try:
        await migrations.apply(connection)
    finally:
        await connection.close()
    return dsn
