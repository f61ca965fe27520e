"""The schema in which `ddor verify` counts: one for each, and none stays for ever."""

from __future__ import annotations

from contextlib import suppress

import asyncpg
import pytest

from deploy.local.parts import KafkaPart
from services.aggregator.store import Store
from services.aggregator.tally import Batch
from services.cli import replaying
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


async def test_a_replay_may_take_longer_than_an_aggregators_transaction(
    settings: MakeSettings, kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the locks of a schema that nobody knows; a stall of the database must not end it."""
    told = events.message("issued", events.issued(1))
    ((topic, number, offset),) = await kafka_log.append(kafka.bootstrap, [told])
    limits, write = [], Store.write

    async def looking(store: Store, batch: Batch) -> object:
        limits.append(await store._connection.fetchval("SHOW transaction_timeout"))
        return await write(store, batch)

    monkeypatch.setattr(Store, "write", looking)
    vector = {topic: {str(number): offset + 1}}
    async with replaying.scratch(settings()) as connection:
        client = clients.client(settings(), "ddor-test-verify")
        await replaying.replay(connection, client, vector, CALENDAR, (), stages=(), counted=lambda _: None)
        assert await connection.fetchval("SELECT sum(records) FROM partition_position") == offset + 1
        limits.append(await connection.fetchval("SHOW transaction_timeout"))
    assert set(limits) == {"0"}
    assert len(limits) > 1


async def _ask(settings: Settings, statement: str) -> None:
    async with replaying.scratch(settings) as connection:
        await connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "states"),
    [("SELECT pg_terminate_backend(pg_backend_pid())", {"57P01", "08003"}), ("SELECT 1 / 0", {"22012"})],
    ids=["the session is ended", "it goes on"],
)
async def test_an_error_in_the_middle_is_the_one_that_is_told(
    store_settings: MakeSettings, connection: Connection, statement: str, states: set[str]
) -> None:
    """Not that nothing can be dropped over a connection that is gone. What stays the next one drops."""
    with pytest.raises(asyncpg.PostgresError) as raised:
        await _ask(store_settings(), statement)
    assert raised.value.sqlstate in states
    await until(lambda: _only_its_own(store_settings(), connection), "what was left dropped")
    assert await _schemas(connection) == set()
