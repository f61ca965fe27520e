"""A Kafka or a PostgreSQL for as long as it is needed, and databases in one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg

from deploy import migrations
from deploy.local.databases import drop_database, ensure_database
from deploy.local.parts import Part, PostgresPart

_P = TypeVar("_P", bound=Part)


@contextmanager
def started(part: _P) -> Iterator[_P]:
    """The part, running; afterwards it is gone, with its data."""
    try:
        part.start()
        yield part
    finally:
        part.destroy()


@contextmanager
def new_database(part: PostgresPart) -> Iterator[str]:
    """The DSN of a new database without tables, which is dropped afterwards."""
    name = f"ddor_test_{secrets.token_hex(6)}"
    try:
        yield ensure_database(part.dsn, name)
    finally:
        drop_database(part.dsn, name)


async def migrated(dsn: str) -> str:
    """The same DSN, once its database has the newest schema."""
    connection = await asyncpg.connect(dsn)
    try:
        await migrations.apply(connection)
    finally:
        await connection.close()
    return dsn
