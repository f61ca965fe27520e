"""A read-only PostgreSQL, as after a failover: services name the cause and continue by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import structlog.testing
from pydantic import SecretStr

from deploy.local.databases import database_dsn, ensure_database
from deploy.local.parts import KafkaPart, PostgresPart
from deploy.local.postgres_native import NativePostgres
from services.aggregator import app as aggregator
from services.publisher import app as publisher
from services.runtime.settings import Settings
from tests.support import events, kafka_log
from tests.support.agencies import write_agencies
from tests.support.causes import READ_ONLY
from tests.support.commands import ddor
from tests.support.in_process import is_ready, running
from tests.support.local_parts import migrated, started
from tests.support.standby import Standby
from tests.support.waiting import until

_DATABASE = "read_only"


@pytest.fixture(scope="module")
async def dsn(own_postgres: PostgresPart) -> str:
    return await migrated(ensure_database(own_postgres.dsn, _DATABASE))


@pytest.fixture
def chosen(dsn: str, own_kafka: KafkaPart, tmp_path: Path) -> Settings:
    return Settings(
        postgres_dsn=SecretStr(dsn),
        kafka_bootstrap=own_kafka.bootstrap,
        kafka_replication=1,
        agencies_file=write_agencies(tmp_path / "agencies.toml"),
        first_week=date(2090, 1, 7),  # no report, so that the servers of the tests may differ
        worker="one",
    )


@pytest.fixture
def standby(dsn: str, own_postgres: PostgresPart, tmp_path: Path) -> Iterator[Standby]:
    if not isinstance(own_postgres, NativePostgres):
        pytest.skip("needs a native PostgreSQL")
    with started(Standby(tmp_path / "standby", own_postgres)) as part:
        yield part


@asynccontextmanager
async def _both(chosen: Settings) -> AsyncIterator[list[httpx.AsyncClient]]:
    """The aggregator and the publisher."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(module.create(chosen))) for module in (aggregator, publisher)]


async def _ready(services: list[httpx.AsyncClient]) -> None:
    """Wait until both are ready."""

    async def ready() -> bool:
        return all([await is_ready(client) for client in services])

    await until(ready, "both services ready")


async def _reported(services: list[httpx.AsyncClient]) -> None:
    """Wait until both are not ready because of the database, and see that pages are served."""

    async def named() -> bool:
        return all([READ_ONLY in (await client.get("/readyz")).text for client in services])

    await until(named, "both services to report a read-only database")
    assert (await services[1].get("/v1/reports")).status_code == 200, "readers need no writes"


async def _counted(bootstrap: str, dsn: str, first: int) -> None:
    """Send events, and wait until they are counted."""
    await kafka_log.append(bootstrap, [events.message("issued", events.issued(first + one)) for one in range(5)])
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "ddor"})
    try:
        await kafka_log.counted(connection, bootstrap)
    finally:
        await connection.close()


async def _execute(dsn: str, *statements: str) -> None:
    """Run statements that a read-only server permits. ALTER SYSTEM is one of them."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_services_continue_after_a_time_in_which_their_server_was_read_only(
    chosen: Settings, dsn: str, own_kafka: KafkaPart
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with _both(chosen) as services:
            await _ready(services)
            await _counted(own_kafka.bootstrap, dsn, 0)
            try:
                await _execute(dsn, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
                await _reported(services)
                done = await ddor(chosen, "status")
                assert done.exit_code in (0, 1), "it reads only"
            finally:
                await _execute(dsn, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
            await _ready(services)
            await _counted(own_kafka.bootstrap, dsn, 10)
    failed = [one for one in logged if one["event"] == "session-failed"]
    assert {one["reason"] for one in failed} == {READ_ONLY}
    assert not any("exc_info" in one for one in failed)


async def test_services_on_a_standby_continue_when_it_is_promoted(
    chosen: Settings, standby: Standby, own_kafka: KafkaPart
) -> None:
    dsn = database_dsn(standby.dsn, _DATABASE)
    async with _both(chosen.model_copy(update={"postgres_dsn": SecretStr(dsn)})) as services:
        await _reported(services)
        await _execute(dsn, "SELECT pg_promote()")
        await _ready(services)
        await _counted(own_kafka.bootstrap, dsn, 20)


async def test_an_address_with_both_servers_finds_the_promoted_one(
    chosen: Settings, standby: Standby, own_postgres: PostgresPart, own_kafka: KafkaPart
) -> None:
    first = database_dsn(standby.dsn, _DATABASE)
    primary = database_dsn(own_postgres.dsn, _DATABASE)
    both = first.replace("@", f"@{urlsplit(primary).netloc.rpartition('@')[2]},")
    found = f"{both}?target_session_attrs=read-write"
    async with _both(chosen.model_copy(update={"postgres_dsn": SecretStr(found)})) as services:
        await _ready(services)
        await _counted(own_kafka.bootstrap, primary, 30)
        await asyncio.to_thread(own_postgres.stop)
        try:
            await _execute(first, "SELECT pg_promote()")
            await _ready(services)
            await _counted(own_kafka.bootstrap, first, 40)
        finally:
            await asyncio.to_thread(own_postgres.start)
