"""Databases with the schema of an earlier release."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

import asyncpg

from services.runtime import migrations
from tests.support.positions import Connection

NEWEST = len(migrations.migrations())


@asynccontextmanager
async def at_version(dsn: str, number: int) -> AsyncIterator[Connection]:
    """A connection to a database without tables, to which the first `number` migrations are applied."""
    connection = await asyncpg.connect(dsn)
    try:
        earlier = migrations.migrations()[:number]
        with mock.patch.object(migrations, "migrations", return_value=earlier):
            await migrations.apply(connection)
        await connection.execute("SET search_path = ddor")
        yield connection
    finally:
        await connection.close()


async def applied(connection: Connection) -> list[int]:
    """The numbers of the applied migrations."""
    return [row["number"] for row in await connection.fetch("SELECT number FROM ddor.migration ORDER BY number")]
