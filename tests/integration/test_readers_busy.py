"""More readers than connections to PostgreSQL: they queue or get 503; readiness uses its own connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

import httpx
import pytest

from services.publisher.site import reader_pool
from services.publisher.site.about import About
from services.publisher.site.routes import Site
from services.runtime import clock, http, metrics, postgres
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.in_process import running
from tests.support.positions import Connection
from tests.support.waiting import until


@pytest.fixture
async def client(store_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    settings = store_settings(first_week=date(2017, 1, 28))
    about = About.of(settings)
    made = Site(lambda: postgres.pool(settings, "ddor-test-http", reader_pool.CONNECTIONS), about, clock.system)
    async with running(http.application(made.routes, made.waiting_for, made.connected)) as client:
        yield client


@asynccontextmanager
async def _stuck(settings: MakeSettings) -> AsyncIterator[None]:
    """Block reads of reports with a lock, as during a rewrite of the table."""
    async with kafka_log.connected(settings()) as other, other.transaction():
        await other.execute("LOCK TABLE report")
        yield


async def _at(connection: Connection, readers: int) -> bool:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ddor-test-http' AND wait_event_type = 'Lock'"
    )
    return bool(await connection.fetchval(waiting) == readers)


def _reads(client: httpx.AsyncClient, readers: int) -> list[asyncio.Task[httpx.Response]]:
    return [asyncio.create_task(client.get("/v1/reports")) for _ in range(readers)]


async def test_readers_that_use_all_connections_do_not_make_the_publisher_unready(
    client: httpx.AsyncClient, store_settings: MakeSettings, connection: Connection
) -> None:
    async with _stuck(store_settings):
        readers = _reads(client, 3 * reader_pool.CONNECTIONS)
        await until(lambda: _at(connection, reader_pool.CONNECTIONS), "all connections taken")
        for _ in range(3):
            assert (await client.get("/readyz")).status_code == 200
    assert {one.status_code for one in await asyncio.gather(*readers)} == {200}, "all queued readers are served"


async def test_a_reader_that_gets_no_connection_in_time_gets_503(
    client: httpx.AsyncClient, store_settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = metrics.READERS_TURNED_AWAY._value.get()
    async with _stuck(store_settings):
        first = _reads(client, reader_pool.CONNECTIONS)
        await until(lambda: _at(connection, reader_pool.CONNECTIONS), "all connections taken")
        monkeypatch.setattr(reader_pool, "TIMEOUT_SECONDS", 0.2)
        late = await asyncio.gather(*_reads(client, 3))
    assert {(one.status_code, one.headers["retry-after"]) for one in late} == {(503, "5")}
    assert {one.json()["code"] for one in late} == {"reports-unavailable"}
    assert metrics.READERS_TURNED_AWAY._value.get() == before + 3
    assert {one.status_code for one in await asyncio.gather(*first)} == {200}


async def test_the_queue_of_readers_is_bounded(
    client: httpx.AsyncClient, store_settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_pool, "MAX_QUEUED", 2)
    async with _stuck(store_settings):
        readers = _reads(client, reader_pool.CONNECTIONS)
        await until(lambda: _at(connection, reader_pool.CONNECTIONS), "all connections taken")
        readers += _reads(client, 2)
        await asyncio.sleep(0)
        assert (await client.get("/v1/reports")).status_code == 503, "refused without waiting"
    assert {one.status_code for one in await asyncio.gather(*readers)} == {200}


async def test_concurrent_readiness_requests_share_one_query(client: httpx.AsyncClient, connection: Connection) -> None:
    responses = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
    assert {one.status_code for one in responses} == {200}
    used = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ddor-test-http'"
    assert await connection.fetchval(used) == 1
