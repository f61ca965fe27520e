"""A migration that waits for a lock does not stop the sessions that need the table after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest
from pydantic import SecretStr

from services.runtime import migrations
from services.runtime.migrations import Patience, TableBusyError
from services.runtime.settings import Settings
from tests.support.commands import ddor
from tests.support.positions import Connection
from tests.support.schema_versions import NEWEST, applied, at_version
from tests.support.waiting import until

_BEFORE = 7  # the next one needs ACCESS EXCLUSIVE on report
_SHORT = Patience(lock_ms=50, pause=0.05, attempts=2_000)


@asynccontextmanager
async def _long_reader(dsn: str) -> AsyncIterator[Connection]:
    """A session in a transaction that has read reports, such as a backup."""
    reader = await asyncpg.connect(dsn, server_settings={"search_path": "ddor", "application_name": "a-backup"})
    try:
        async with reader.transaction():
            await reader.fetch("SELECT week FROM report")
            yield reader
    finally:
        await reader.close()


async def test_readers_proceed_while_a_migration_waits_for_a_long_one(empty_database: str) -> None:
    told: list[str] = []
    async with at_version(empty_database, _BEFORE) as connection:
        other = await asyncpg.connect(empty_database, server_settings={"search_path": "ddor"})
        async with _long_reader(empty_database):
            waiting = asyncio.create_task(migrations.apply(connection, patience=_SHORT, tell=told.append))
            for least in (1, 3, 5):
                async with asyncio.timeout(60):
                    await until(partial(_told, told, least), "attempts")
                    await other.fetch("SELECT week FROM report")
            assert not waiting.done()
            assert await applied(other) == [*range(1, _BEFORE + 1)]
        done = await waiting
        assert [one.number for one in done] == [*range(_BEFORE + 1, NEWEST + 1)]
        assert await applied(other) == [*range(1, NEWEST + 1)]
        await other.close()
    assert "0008_published_figures waits for a lock: session " in told[0]
    assert told[0].endswith("(a-backup) has a lock on report")


async def _told(told: list[str], least: int) -> bool:
    return len(told) >= least


async def test_a_migration_that_never_gets_its_lock_ends_with_the_session_to_end(empty_database: str) -> None:
    async with at_version(empty_database, 4) as connection, _long_reader(empty_database) as reader:
        pid = reader.get_server_pid()
        with pytest.raises(TableBusyError) as refused:
            await migrations.apply(connection, patience=Patience(lock_ms=50, pause=0, attempts=3))
        assert str(refused.value) == (
            f"0008_published_figures waits for a lock: session {pid} (a-backup) has a lock on report."
            " End that session, then run `ddor migrate` again"
        )
        assert await applied(reader) == [*range(1, _BEFORE + 1)], "files before it are applied"
        assert await reader.fetchval("SELECT to_regclass('published_figure')") is None


async def test_the_command_reports_that_it_waits(empty_database: str) -> None:
    """With the times of production: two seconds for a lock, five until the next attempt."""
    async with at_version(empty_database, _BEFORE) as connection:
        async with _long_reader(empty_database):
            running = asyncio.create_task(ddor(Settings(postgres_dsn=SecretStr(empty_database)), "migrate"))
            await until(lambda: _waits(connection), "the command waiting for a lock")

            async def has_given_way() -> bool:
                return not await _waits(connection)

            await until(has_given_way, "the command after its first attempt")
            await until(lambda: _waits(connection), "the command's second attempt")
        done = await running
    assert done.exit_code == 0, done.output
    assert done.out.splitlines() == [f"applied {one.stem}" for one in migrations.migrations()[_BEFORE:]]
    assert "(a-backup) has a lock on report" in done.err


async def _waits(connection: Connection) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ddor-migrate' AND wait_event_type = 'Lock'"
        )
    )
