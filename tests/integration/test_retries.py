"""PostgreSQL and Kafka fail, respond late or not at all: the aggregator waits, reports it, and counts exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.local import parts
from deploy.local.databases import ensure_database
from deploy.local.parts import KafkaPart, PostgresPart
from services.aggregator import app
from services.runtime import migrations
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.in_process import is_ready, running
from tests.support.positions import Connection
from tests.support.proxies import CommitCutter, in_front
from tests.support.streaming import Stream, streaming
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("restarts slowly and differs from Kafka")


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[PostgresPart]:
    """A PostgreSQL that a test may stop and kill."""
    part = parts.choose_postgres(tmp_path / "own-postgres")
    if part.source == "settings":
        pytest.skip("a PostgreSQL that the settings name is not ours to stop")
    part.start()
    try:
        yield part
    finally:
        part.destroy()


@pytest.fixture
async def own_settings(own_postgres: PostgresPart, kafka: KafkaPart, agencies_file: Path) -> Settings:
    """Settings on that PostgreSQL, positions at the ends of the log."""
    dsn = ensure_database(own_postgres.dsn, "ddor")
    connection = await asyncpg.connect(dsn)
    try:
        await migrations.apply(connection)
    finally:
        await connection.close()
    made = Settings(postgres_dsn=dsn, kafka_bootstrap=kafka.bootstrap, agencies_file=agencies_file, worker="one")
    async with kafka_log.connected(made) as looking:
        await kafka_log.begin_at_the_ends(looking, kafka.bootstrap)
    return made


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_postgresql_restarted_under_load(own_settings: Settings, own_postgres: PostgresPart, end: str) -> None:
    ending: Callable[[], None] = getattr(own_postgres, end)
    async with running(app.create(own_settings)) as client:
        async with kafka_log.connected(own_settings) as connection:
            stream = streaming(connection, own_settings.kafka_bootstrap)
            writing = await stream.__aenter__()
            await until(partial(_counted, connection, 300), "records counted")
        try:
            for _ in range(2):
                await asyncio.to_thread(ending)
                await until(partial(_is_unready, client), "not ready without PostgreSQL")
                await asyncio.to_thread(own_postgres.start)
                await until(partial(is_ready, client), "ready again")
        finally:
            await stream.__aexit__(None, None, None)
        async with kafka_log.connected(own_settings) as connection:
            await writing.check(connection)


async def test_a_commit_with_a_lost_response_is_resolved_by_reading_never_by_sending_again(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    direct = settings().postgres_dsn.get_secret_value()
    async with (
        in_front(direct, CommitCutter(4)) as (dsn, cutter),
        streaming(connection, kafka.bootstrap) as stream,
        running(app.create(settings(worker="one", postgres_dsn=dsn))),
    ):
        await until(partial(_cut, cutter), "four commits without a response")
        before = stream.sent
        await until(partial(_more, stream, before + 200), "more events")
        await until(partial(_counted, connection, before), "records counted after that")
    async with running(app.create(settings(worker="one"))):
        await stream.check(connection)


@pytest.mark.parametrize("state", ["40P01", "40001", "53100", "55P03", "58030"])
async def test_transient_errors_reject_no_record(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart, state: str
) -> None:
    await connection.execute(
        "CREATE SEQUENCE planted; CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        f" IF nextval('ddor.planted') <= 3 THEN RAISE 'planted' USING ERRCODE = '{state}'; END IF; RETURN NULL; END$$;"
        "CREATE TRIGGER planted AFTER INSERT ON ledger_entry FOR EACH STATEMENT EXECUTE FUNCTION planted()"
    )
    async with running(app.create(settings(worker="one"))):
        async with streaming(connection, kafka.bootstrap) as stream:
            await until(partial(_counted, connection, 200), "records counted")
        await stream.check(connection)
    assert await connection.fetchval("SELECT last_value FROM planted") > 3


async def test_a_batch_that_cannot_be_written_in_time_is_written_in_smaller_ones(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """12 ms per fact: a full batch takes longer than the transaction timeout, on each attempt."""
    await connection.execute(
        "CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(0.012); RETURN NEW; END$$;"
        "CREATE TRIGGER planted BEFORE INSERT ON ledger_entry FOR EACH ROW EXECUTE FUNCTION planted()"
    )
    async with streaming(connection, kafka.bootstrap) as stream:
        await until(partial(_more, stream, 400), "400 events")
    async with running(app.create(settings(worker="one"))):
        await stream.check(connection)


async def test_kafka_restarted_under_load(
    store_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
) -> None:
    made = store_settings(kafka_bootstrap=own_kafka.bootstrap, worker="one")
    await kafka_log.begin_at_the_ends(connection, own_kafka.bootstrap)
    async with running(app.create(made)) as client, streaming(connection, own_kafka.bootstrap) as stream:
        await until(partial(_counted, connection, 200), "records counted")
        for ending in (own_kafka.stop, own_kafka.kill):
            await asyncio.to_thread(ending)
            await until(partial(_is_unready, client), "not ready without Kafka")
            assert set(await _owned(connection)) == {None}, "leases of unreadable partitions are released"
            await asyncio.to_thread(own_kafka.start)
            await until(partial(is_ready, client), "ready again")
            before = stream.sent
            await until(partial(_more, stream, before + 100), "more events")
    async with running(app.create(made)):
        await stream.check(connection)


async def test_the_process_stops_on_request_while_kafka_is_unavailable(
    store_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
) -> None:
    made = store_settings(kafka_bootstrap=own_kafka.bootstrap, worker="one")
    await kafka_log.begin_at_the_ends(connection, own_kafka.bootstrap)
    try:
        async with asyncio.timeout(30), running(app.create(made)) as client:
            await until(partial(is_ready, client), "ready")
            await asyncio.to_thread(own_kafka.pause)
            await asyncio.sleep(1)
    finally:
        await asyncio.to_thread(own_kafka.resume)
    assert set(await _owned(connection)) == {None}


async def test_the_process_stops_on_request_while_postgresql_hangs(
    own_settings: Settings, own_postgres: PostgresPart
) -> None:
    try:
        async with asyncio.timeout(30), running(app.create(own_settings)) as client:
            await until(partial(is_ready, client), "ready")
            await asyncio.to_thread(own_postgres.pause)
            await asyncio.sleep(1)
    finally:
        await asyncio.to_thread(own_postgres.resume)


async def _is_unready(client: httpx.AsyncClient) -> bool:
    return not await is_ready(client)


async def _counted(connection: Connection, least: int) -> bool:
    return bool(await connection.fetchval("SELECT sum(records) >= $1 FROM partition_position", least))


async def _more(stream: Stream, least: int) -> bool:
    return stream.sent >= least


async def _cut(cutter: CommitCutter) -> bool:
    return cutter.done >= cutter.cuts


async def _owned(connection: Connection) -> list[str | None]:
    return [row["owner"] for row in await connection.fetch("SELECT owner FROM partition_position")]
