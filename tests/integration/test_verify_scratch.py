"""The scratch schema of `ddor verify`: each run has its own schema and leaves none."""

from __future__ import annotations

from contextlib import suppress

import asyncpg
import pytest

from deploy.local.parts import KafkaPart
from schemas.log import Partition, Vector
from services.aggregator.decoding import Batch
from services.aggregator.store import Store
from services.cli import verify_replay
from services.runtime import kafka as clients
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.batches import CALENDAR
from tests.support.positions import Connection
from tests.support.waiting import until


async def _schemas(connection: Connection) -> set[str]:
    rows = await connection.fetch(r"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ddor\_verify\_%'")
    return {row["nspname"] for row in rows}


async def test_each_run_has_its_own_schema_that_is_dropped_at_its_end(
    store_settings: MakeSettings, connection: Connection
) -> None:
    async with verify_replay.scratch(store_settings()) as one:
        first = await one.fetchval("SELECT current_schema()")
        async with verify_replay.scratch(store_settings()) as other:
            assert await other.fetchval("SELECT current_schema()") != first
            assert len(await _schemas(connection)) == 2, "the schema of a running verification is not dropped"
        assert await one.fetchval("SELECT count(*) FROM ledger") == 0
    assert await _schemas(connection) == set()


async def _killed(settings: Settings) -> str:
    """Kill a verification. Returns the schema that remains."""
    with suppress(asyncpg.InterfaceError):
        async with verify_replay.scratch(settings) as connection:
            name: str = await connection.fetchval("SELECT current_schema()")
            connection.terminate()
    return name


async def test_the_schema_of_a_killed_run_is_dropped_by_the_next(
    store_settings: MakeSettings, connection: Connection
) -> None:
    left = await _killed(store_settings())
    assert await _schemas(connection) == {left}
    await until(lambda: _only_its_own(store_settings(), connection), "the server to detect the end of the session")
    assert await _schemas(connection) == set()


async def test_a_schema_that_verify_did_not_create_is_never_dropped(
    store_settings: MakeSettings, connection: Connection
) -> None:
    others = {"ddor_verify_4711", "ddor_verify_" + "0" * 16, 'ddor_verify_of Ada\'s "own"', "DDOR_verify_x"}
    for name in others:
        await connection.execute("SELECT set_config('test.name', $1, false)", name)
        await connection.execute("DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', current_setting('test.name')); END $$")
    await connection.execute("COMMENT ON SCHEMA ddor_verify_4711 IS 'retained by Ada'")
    left = await _killed(store_settings())

    async def gone() -> bool:
        async with verify_replay.scratch(store_settings()):
            return left not in await _schemas(connection)

    await until(gone, "the server to detect the end of the session")
    remaining = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~* '^ddor_verify_'")
    assert {row["nspname"] for row in remaining} == others


async def _only_its_own(settings: Settings, connection: Connection) -> bool:
    async with verify_replay.scratch(settings) as one:
        return await _schemas(connection) == {await one.fetchval("SELECT current_schema()")}


async def test_a_replay_may_take_longer_than_an_aggregators_transaction(
    settings: MakeSettings, kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No one waits for locks in a scratch schema, so a slow database must not end the run."""
    message = events.message("issued", events.issued(1))
    ((topic, number, offset),) = await kafka_log.append(kafka.bootstrap, [message])
    limits, write = [], Store.write

    async def looking(store: Store, batch: Batch) -> object:
        limits.append(await store._connection.fetchval("SHOW transaction_timeout"))
        return await write(store, batch)

    monkeypatch.setattr(Store, "write", looking)
    vector = Vector({Partition(topic, number): offset + 1})
    async with verify_replay.scratch(settings()) as connection:
        client = clients.client(settings(), "ddor-test-verify")
        await verify_replay.replay(connection, client, vector, CALENDAR, (), stages=(), counted=lambda _: None)
        assert await connection.fetchval("SELECT sum(records) FROM partition_position") == offset + 1
        limits.append(await connection.fetchval("SHOW transaction_timeout"))
    assert set(limits) == {"0"}
    assert len(limits) > 1


async def _execute(settings: Settings, statement: str) -> None:
    async with verify_replay.scratch(settings) as connection:
        await connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "states"),
    [("SELECT pg_terminate_backend(pg_backend_pid())", {"57P01", "08003"}), ("SELECT 1 / 0", {"22012"})],
    ids=["the session ends", "the session continues"],
)
async def test_the_first_error_is_reported(
    store_settings: MakeSettings, connection: Connection, statement: str, states: set[str]
) -> None:
    """Not the failure to drop the schema over a closed connection. The next run drops it."""
    with pytest.raises(asyncpg.PostgresError) as raised:
        await _execute(store_settings(), statement)
    assert raised.value.sqlstate in states
    await until(lambda: _only_its_own(store_settings(), connection), "the remaining schema dropped")
    assert await _schemas(connection) == set()
