"""Leases in PostgreSQL: names, heartbeats, shares, and state that persists after a session."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest

from schemas.acceptance import RULES_VERSION
from schemas.log import Partition
from services.aggregator import lease_manager
from services.aggregator.lease_manager import LeaseManager, NameTakenError
from services.aggregator.leases import EXPIRY
from services.aggregator.worker import PARTITIONS
from services.runtime import postgres
from services.runtime.errors import DATABASE_ERRORS, is_transient
from tests.conftest import MakeSettings
from tests.support.positions import Connection, owners
from tests.support.waiting import until

Move: TypeAlias = Callable[[str], Awaitable[tuple[LeaseManager, Connection]]]


@pytest.fixture
async def move_in(store_settings: MakeSettings) -> AsyncIterator[Move]:
    """`await move_in("one")`: a session of a worker with that name, before it claims the name."""
    async with AsyncExitStack() as stack:

        async def move(name: str) -> tuple[LeaseManager, Connection]:
            session = await postgres.connect(store_settings(), "ddor-aggregator-lease")
            stack.callback(session.terminate)
            one = LeaseManager(session, name)
            await one.add_partitions(PARTITIONS)
            return one, session

        yield move


async def _settled(*lease_managers: LeaseManager, rounds: int = 6) -> list[dict[Partition, int]]:
    """The leases of each worker after a few renewals of all."""
    held: list[dict[Partition, int]] = []
    for _ in range(rounds):
        held = [await lease_manager.renew() for lease_manager in lease_managers]
    return held


async def test_the_name_of_a_live_worker_cannot_be_claimed(move_in: Move) -> None:
    first, _ = await move_in("one")
    second, _ = await move_in("one")
    await first.claim_name()
    await first.renew()
    for _ in range(3):
        with pytest.raises(NameTakenError):
            await second.claim_name()
    assert len(await first.renew()) == len(PARTITIONS), "the owner keeps its leases"


async def test_a_successor_claims_the_name_as_soon_as_the_session_ends(move_in: Move, connection: Connection) -> None:
    first, session = await move_in("one")
    await first.claim_name()
    before = await first.renew()
    session.terminate()
    second, _ = await move_in("one")
    await until(lambda: _claimed(second), "the name of the ended session claimed")
    assert set((await owners(connection)).values()) == {None}, "the leases of the ended session are free"
    after = await second.renew()
    assert after == {partition: epoch + 1 for partition, epoch in before.items()}


async def test_the_session_of_a_stopped_worker_is_terminated_after_its_expiry(
    move_in: Move, connection: Connection
) -> None:
    first, session = await move_in("one")
    await first.claim_name()
    await first.renew()
    second, _ = await move_in("one")
    with pytest.raises(NameTakenError):
        await second.claim_name()
    await connection.execute("UPDATE worker SET seen_at = seen_at - $1::interval", EXPIRY)
    await until(lambda: _claimed(second), "the name of the stopped process claimed")
    with pytest.raises((*DATABASE_ERRORS, OSError)) as ended:
        await first.renew()
    assert is_transient(ended.value)
    assert session.is_closed()
    assert len(await second.renew()) == len(PARTITIONS)


async def test_workers_without_a_session_for_a_day_are_deleted_and_stopped_workers_are_not(
    move_in: Move, connection: Connection
) -> None:
    """A successor needs the row to terminate the session; without it, the name would stay taken forever."""
    stopped, session = await move_in("stopped")
    await stopped.claim_name()
    await stopped.renew()
    await connection.execute("INSERT INTO worker VALUES ('gone', now(), 0), ('away', now(), 0)")
    await connection.execute("UPDATE worker SET seen_at = now() - interval '25 h' WHERE name <> 'away'")
    await connection.execute("UPDATE worker SET seen_at = now() - interval '23 h' WHERE name = 'away'")
    one, _ = await move_in("one")
    await one.claim_name()
    names = {row["name"] for row in await connection.fetch("SELECT name FROM worker")}
    assert names == {"stopped", "away"}
    second, _ = await move_in("stopped")
    await until(lambda: _claimed(second), "the name of the process stopped yesterday claimed")
    session.terminate()


async def test_only_a_lease_session_is_terminated_for_a_name(
    move_in: Move, connection: Connection, store_settings: MakeSettings
) -> None:
    """Process ids are reused: a session of another kind with the same id is not terminated."""
    first, _ = await move_in("one")
    await first.claim_name()
    await first.renew()
    other = await postgres.connect(store_settings(), "somebody-else")
    try:
        pid = await other.fetchval("SELECT pg_backend_pid()")
        await connection.execute("UPDATE worker SET backend_pid = $1, seen_at = seen_at - $2::interval", pid, EXPIRY)
        second, _ = await move_in("one")
        with pytest.raises(NameTakenError):
            await second.claim_name()
        assert await other.fetchval("SELECT 1") == 1
    finally:
        await other.close()


async def test_two_and_three_workers_have_fair_shares_and_no_partition_has_two_owners(
    move_in: Move, connection: Connection
) -> None:
    one, _ = await move_in("one")
    two, _ = await move_in("two")
    three, session = await move_in("three")
    assert len((await _settled(one))[0]) == 25
    assert [len(held) for held in await _settled(one, two)] == [13, 12]
    shares = await _settled(one, two, three)
    assert [len(held) for held in shares] == [9, 8, 8]
    assert sum((Counter(held) for held in shares), Counter()).keys() == set(PARTITIONS)
    assert Counter((await owners(connection)).values()) == {"one": 9, "two": 8, "three": 8}
    await three.sign_off()
    session.terminate()
    assert [len(held) for held in await _settled(one, two)] == [13, 12]
    assert Counter((await owners(connection)).values()) == {"one": 13, "two": 12}


async def test_the_leases_of_a_silent_worker_are_taken_after_its_expiry(move_in: Move, connection: Connection) -> None:
    one, _ = await move_in("one")
    two, _ = await move_in("two")
    await _settled(one, two)
    await connection.execute("UPDATE worker SET seen_at = seen_at - $1::interval WHERE name = 'two'", EXPIRY)
    epochs = (await _settled(one, rounds=2))[0]
    assert len(epochs) == 25
    # Acquired by one, by two, and by one again: each change of owner is a new epoch.
    assert Counter(epochs.values()) == {1: 13, 3: 12}


async def test_a_partition_whose_row_a_batch_has_locked_is_not_taken(
    move_in: Move, store_settings: MakeSettings
) -> None:
    one, _ = await move_in("one")
    writing = await postgres.connect(store_settings(), "ddor-test-writer")
    try:
        async with writing.transaction():
            await writing.execute("SELECT 1 FROM partition_position WHERE partition = 4 FOR UPDATE")
            async with asyncio.timeout(30):
                assert {partition.number for partition in set(PARTITIONS) - (await one.renew()).keys()} == {4}
    finally:
        await writing.close()
    assert len(await one.renew()) == 25


async def test_a_partition_is_released_only_after_its_batch_is_written(move_in: Move, connection: Connection) -> None:
    one, _ = await move_in("one")
    two, _ = await move_in("two")
    await one.renew()
    await two.renew()
    remaining = await one.renew(busy=set(PARTITIONS))
    assert len(remaining) == 13, "a partition to release is no longer read"
    assert Counter((await owners(connection)).values()) == {"one": 25}, "not released while a batch uses it"
    leaving = sorted(set(PARTITIONS) - remaining.keys())
    await one.renew(busy={leaving[0]})
    assert Counter((await owners(connection)).values()) == {"one": 14, None: 11}


async def test_no_batch_delays_a_heartbeat(move_in: Move, store_settings: MakeSettings) -> None:
    """A batch has locked every row: no lease is released, no partition halted, and no call waits."""
    one, _ = await move_in("one")
    two, _ = await move_in("two")
    epochs = await one.renew()
    await two.renew()
    writing = await postgres.connect(store_settings(), "ddor-test-writer")
    try:
        async with writing.transaction():
            await writing.execute("SELECT 1 FROM partition_position FOR UPDATE")
            async with asyncio.timeout(30):
                assert len(await one.renew()) == 13
                assert await two.renew() == {}
                await one.halt(PARTITIONS[0], epochs[PARTITIONS[0]], "seen again later")
    finally:
        await writing.close()
    assert len(await one.renew()) == 13
    assert len(await two.renew()) == 12


async def test_a_change_of_the_rules_version_is_recorded_with_its_position(
    move_in: Move, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The acquisition records the version, from the current position on."""

    async def recorded() -> list[tuple[int, int]]:
        rows = await connection.fetch(
            "SELECT from_offset, version FROM acceptance_rules"
            " WHERE (topic, partition) = ('detainer-issued', 4) ORDER BY from_offset"
        )
        return [tuple(row) for row in rows]

    one, _ = await move_in("one")
    await one.renew()
    assert await recorded() == [(0, RULES_VERSION)]
    assert await connection.fetchval("SELECT count(*) FROM acceptance_rules") == len(PARTITIONS)
    await connection.execute("UPDATE partition_position SET next_offset = 70")
    await one.sign_off()
    await one.renew()
    assert await recorded() == [(0, RULES_VERSION)], "the same version is not recorded again"
    await one.sign_off()
    monkeypatch.setattr(lease_manager, "RULES_VERSION", RULES_VERSION + 1)
    await one.renew()
    assert await recorded() == [(0, RULES_VERSION), (70, RULES_VERSION + 1)]


async def test_a_halt_persists_through_restarts_and_changes_of_owner(move_in: Move, connection: Connection) -> None:
    stuck = PARTITIONS[5]
    one, session = await move_in("one")
    await one.claim_name()
    epochs = await one.renew()
    await one.halt(stuck, epochs[stuck], "PositionLost: a test")
    session.terminate()
    again, _ = await move_in("one")
    await until(lambda: _claimed(again), "the name of the ended session claimed")
    await again.renew()
    assert again.halted == {}, "empty before the first renewal"
    await again.renew()
    assert again.halted == {stuck: 0}
    leases = await again.leases()
    assert {p: lease.halted for p, lease in leases.items() if lease.halted} == {stuck: "PositionLost: a test"}
    await again.sign_off()
    two, _ = await move_in("two")
    await two.renew()
    await two.renew()
    assert (await two.leases())[stuck].halted == "PositionLost: a test"
    assert two.halted == {stuck: 0}, "reported by the new owner"
    await again.renew()
    assert again.halted == {}
    assert await connection.fetchval("SELECT count(*) FROM partition_position WHERE halted_reason IS NOT NULL") == 1


async def test_a_halt_with_an_old_epoch_does_nothing(move_in: Move, connection: Connection) -> None:
    one, _ = await move_in("one")
    epochs = await one.renew()
    await one.halt(PARTITIONS[0], epochs[PARTITIONS[0]] - 1, "too late")
    assert await connection.fetchval("SELECT count(*) FROM partition_position WHERE halted_reason IS NOT NULL") == 0


async def test_an_orderly_stop_releases_all_leases(move_in: Move, connection: Connection) -> None:
    one, _ = await move_in("one")
    await one.renew()
    await one.sign_off()
    assert set((await owners(connection)).values()) == {None}
    assert await connection.fetchval("SELECT count(*) FROM worker") == 0


async def _claimed(lease_manager: LeaseManager) -> bool:
    try:
        await lease_manager.claim_name()
    except NameTakenError:
        return False
    return True
