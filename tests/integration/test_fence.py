"""Invariant 4: a process without the lease cannot write, and a batch with one lost partition writes nothing."""

from __future__ import annotations

import asyncio

import pytest

from schemas.log import Vector
from services.aggregator.decoding import Batch
from services.aggregator.leases import EXPIRY
from services.aggregator.spans import Claim
from services.aggregator.store import TIMEOUT, FencedError, Store
from services.runtime import postgres
from services.runtime.errors import DATABASE_ERRORS, is_transient
from tests.conftest import MakeSettings
from tests.integration.conftest import OpenStore
from tests.support import events
from tests.support.batches import OWNER, Record, batch, lease, logged
from tests.support.positions import Connection, everything, next_offsets
from tests.support.proxies import CopyHeld, in_front
from tests.support.waiting import until


def _records(kind: str = "issued", count: int = 40) -> list[Record]:
    make = events.issued if kind == "issued" else events.declined
    return logged(events.message(kind, make(number)) for number in range(count))


RECORDS = _records()
PARTITIONS = sorted({record.at for record in RECORDS})
LOST = PARTITIONS[3]


async def _refused(connection: Connection, store: Store, refused: Batch) -> None:
    before = await everything(connection)
    with pytest.raises(FencedError):
        await store.write(refused)
    assert await everything(connection) == before


async def test_invariant_4_a_batch_with_a_valid_lease_is_written(connection: Connection, open_store: OpenStore) -> None:
    await lease(connection, PARTITIONS)
    written = await (await open_store(OWNER)).write(batch(RECORDS))
    assert written.outcomes["detainer-issued", "ledger"] == len(RECORDS)
    ends = {one: sum(r.at == one for r in RECORDS) for one in PARTITIONS}
    assert await next_offsets(connection) == Vector(ends)


async def test_invariant_4_another_owner_writes_nothing(connection: Connection, open_store: OpenStore) -> None:
    await lease(connection, PARTITIONS, owner="two")
    await _refused(connection, await open_store(OWNER), batch(RECORDS))


@pytest.mark.parametrize("column_and_value", [("owner", "two"), ("owner", None), ("epoch", 2), ("next_offset", 1)])
async def test_invariant_4_one_lost_partition_of_several_writes_nothing(
    connection: Connection, open_store: OpenStore, column_and_value: tuple[str, object]
) -> None:
    column, value = column_and_value
    await lease(connection, PARTITIONS)
    await connection.execute(
        f"UPDATE partition_position SET {column} = $1 WHERE topic = $2 AND partition = $3",
        value,
        LOST.topic,
        LOST.number,
    )
    await _refused(connection, await open_store(OWNER), batch(RECORDS))


async def test_invariant_4_an_older_or_newer_epoch_writes_nothing(
    connection: Connection, open_store: OpenStore
) -> None:
    await lease(connection, PARTITIONS, epoch=5)
    store = await open_store(OWNER)
    await _refused(connection, store, batch(RECORDS, epoch=4))
    await _refused(connection, store, batch(RECORDS, epoch=6))


async def test_invariant_4_a_batch_from_another_position_writes_nothing(
    connection: Connection, open_store: OpenStore
) -> None:
    """A batch that begins too early would count records twice; one that begins too late would lose records."""
    await lease(connection, PARTITIONS)
    await connection.execute("UPDATE partition_position SET next_offset = 1")
    store = await open_store(OWNER)
    await _refused(connection, store, batch([r for r in RECORDS if r.at == LOST]))
    await _refused(connection, store, batch([r for r in RECORDS if r.at == LOST and r.offset >= 2], start=2))


async def test_invariant_4_a_halted_partition_writes_nothing(connection: Connection, open_store: OpenStore) -> None:
    await lease(connection, PARTITIONS)
    await connection.execute("UPDATE partition_position SET halted_reason = 'a test' WHERE partition = $1", LOST.number)
    await _refused(connection, await open_store(OWNER), batch(RECORDS))


async def test_invariant_4_a_partition_without_a_position_writes_nothing(
    connection: Connection, open_store: OpenStore
) -> None:
    await lease(connection, [one for one in PARTITIONS if one != LOST])
    await _refused(connection, await open_store(OWNER), batch(RECORDS))


async def test_invariant_4_an_empty_batch_is_fenced_too(connection: Connection, open_store: OpenStore) -> None:
    await lease(connection, [LOST], owner="two")
    over_a_gap = Batch((), (), (), (Claim(LOST, 1, 0, 5),))
    await _refused(connection, await open_store(OWNER), over_a_gap)
    await lease(connection, [LOST])
    await (await open_store(OWNER)).write(over_a_gap)
    assert (await next_offsets(connection))[LOST] == 5


async def test_invariant_4_a_lease_taken_while_a_batch_waits_stops_the_batch(
    connection: Connection, open_store: OpenStore, store_settings: MakeSettings
) -> None:
    """The fence is checked after the lock is acquired: a change of owner that commits first wins."""
    await lease(connection, PARTITIONS)
    store = await open_store(OWNER)
    taker = await postgres.connect(store_settings(), "ddor-test-taker")
    try:
        async with taker.transaction():
            await taker.execute(
                "UPDATE partition_position SET owner = 'two', epoch = 2 WHERE partition = $1", LOST.number
            )
            writing = asyncio.create_task(store.write(batch(RECORDS)))
            await _waits_for_a_lock(connection)
    finally:
        await taker.close()
    with pytest.raises(FencedError):
        await writing
    assert await connection.fetchval("SELECT count(*) FROM ledger") == 0


async def test_a_batch_that_hangs_ends_before_the_lease_expires(
    connection: Connection, open_store: OpenStore, store_settings: MakeSettings
) -> None:
    """transaction_timeout: a delayed worker writes nothing, and the error is transient."""
    assert TIMEOUT < EXPIRY
    await lease(connection, PARTITIONS)
    store = await open_store(OWNER)
    blocker = await postgres.connect(store_settings(), "ddor-test-blocker")
    try:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE weekly_counter IN SHARE MODE")
            clock = asyncio.get_running_loop().time
            began = clock()
            async with asyncio.timeout(60):
                with pytest.raises(DATABASE_ERRORS) as ended:
                    await store.write(batch(RECORDS))
            assert clock() - began >= TIMEOUT.total_seconds(), "the whole timeout has passed"
    finally:
        await blocker.close()
    assert is_transient(ended.value)
    assert set((await next_offsets(connection)).values()) == {0}
    assert await connection.fetchval("SELECT count(*) FROM ledger") == 0


@pytest.mark.parametrize("table", ["incoming", "incoming_decline"])
async def test_a_worker_that_stops_during_a_copy_blocks_no_other_worker(
    connection: Connection, open_store: OpenStore, store_settings: MakeSettings, table: str
) -> None:
    """PostgreSQL does not time out a transaction that waits for COPY data, so it must hold no lock during COPY."""
    records = _records("declined")
    partitions = sorted({record.at for record in records})
    await lease(connection, partitions)
    async with in_front(store_settings().postgres_dsn.get_secret_value(), CopyHeld(table)) as (dsn, copy):
        slow = await postgres.connect(store_settings(postgres_dsn=dsn), "ddor-test-slow")
        try:
            store = Store(slow, OWNER)
            await store.prepare()
            writing = asyncio.create_task(store.write(batch(records)))
            await copy.begun.wait()
            await asyncio.sleep(TIMEOUT.total_seconds() * 1.5)
            async with asyncio.timeout(60):
                await lease(connection, partitions, owner="two", epoch=2)
                await (await open_store("two")).write(batch(records, epoch=2))
            before = await everything(connection)
            copy.open.set()
            with pytest.raises((*DATABASE_ERRORS, FencedError)):
                await writing
        finally:
            slow.terminate()
    assert await everything(connection) == before
    assert await connection.fetchval("SELECT count(*) FROM ledger") == len(records)


async def _waits_for_a_lock(connection: Connection) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await until(lambda: connection.fetchval(query), "a session that waits for a lock")
