"""The schema in which `ddor verify` counts: one for each, and none stays for ever."""

from __future__ import annotations

from contextlib import suppress

import asyncpg

from services.cli import replaying
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support.positions import Connection
from tests.support.waiting import until


async def _schemas(connection: Connection) -> set[str]:
    rows = await connection.fetch(r"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ddor\_verify\_%'")
    return {row["nspname"] for row in rows}


async def test_each_has_a_schema_of_its_own_that_is_dropped_at_its_end(
    store_settings: MakeSettings, connection: Connection
) -> None:
    async with replaying.scratch(store_settings()) as one:
        first = await one.fetchval("SELECT current_schema()")
        async with replaying.scratch(store_settings()) as other:
            assert await other.fetchval("SELECT current_schema()") != first
            assert len(await _schemas(connection)) == 2, "one that lives is left alone"
        assert await one.fetchval("SELECT count(*) FROM ledger") == 0
    assert await _schemas(connection) == set()


async def _killed(settings: Settings) -> str:
    """A verification that ends in the middle, as by kill -9; the schema that it leaves."""
    with suppress(asyncpg.InterfaceError):
        async with replaying.scratch(settings) as connection:
            name: str = await connection.fetchval("SELECT current_schema()")
            connection.terminate()
    return name


async def test_what_a_killed_one_has_left_is_dropped_by_the_next(
    store_settings: MakeSettings, connection: Connection
) -> None:
    left = await _killed(store_settings())
    await connection.execute("CREATE SCHEMA ddor_verify_4711")
    assert await _schemas(connection) == {left, "ddor_verify_4711"}
    await until(lambda: _only_its_own(store_settings(), connection), "the server to see that the session has ended")
    assert await _schemas(connection) == set()


async def _only_its_own(settings: Settings, connection: Connection) -> bool:
    async with replaying.scratch(settings) as one:
        return await _schemas(connection) == {await one.fetchval("SELECT current_schema()")}
