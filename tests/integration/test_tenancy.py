"""Leases in PostgreSQL: names, heartbeats, shares, and what outlives a session."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import asyncpg
import pytest

from schemas.acceptance import RULES_VERSION
from services.aggregator import tenancy
from services.aggregator.leases import EXPIRY, Partition
from services.aggregator.tenancy import NameTakenError, Tenancy
from services.aggregator.worker import PARTITIONS
from services.runtime import postgres
from tests.conftest import MakeSettings
from tests.support.positions import Connection, owners
from tests.support.waiting import until

Move: TypeAlias = Callable[[str], Awaitable[tuple[Tenancy, Connection]]]


@pytest.fixture
async def move_in(store_settings: MakeSettings) -> AsyncIterator[Move]:
    """`await move_in("one")`: a session of a worker of that name, the name not yet claimed."""
    async with AsyncExitStack() as stack:

        async def move(name: str) -> tuple[Tenancy, Connection]:
            session = await postgres.connect(store_settings(), "ddor-aggregator-lease")
            stack.callback(session.terminate)
            one = Tenancy(session, name)
            await one.add_partitions(PARTITIONS)
            return one, session

        yield move


async def _settled(*tenancies: Tenancy, rounds: int = 6) -> list[dict[Partition, int]]:
    """What each holds after a few rounds of all."""
    held: list[dict[Partition, int]] = []
    for _ in range(rounds):
        held = [await tenancy.round() for tenancy in tenancies]
    return held


async def test_a_living_name_is_taken(move_in: Move) -> None:
    first, _ = await move_in("one")
    second, _ = await move_in("one")
    await first.claim_name()
    await first.round()
    for _ in range(3):
        with pytest.raises(NameTakenError):
            await second.claim_name()
    assert len(await first.round()) == len(PARTITIONS), "and its holder was left alone"


async def test_a_successor_has_the_name_at_once_when_the_session_ends(move_in: Move, connection: Connection) -> None:
    first, session = await move_in("one")
    await first.claim_name()
    before = await first.round()
    session.terminate()
    second, _ = await move_in("one")
    await until(lambda: _claimed(second), "the name of an ended session")
    assert set((await owners(connection)).values()) == {None}, "what the dead session held is free"
    after = await second.round()
    assert after == {partition: epoch + 1 for partition, epoch in before.items()}


async def test_a_stopped_holder_is_ended_after_the_expiry(move_in: Move, connection: Connection) -> None:
    first, session = await move_in("one")
    await first.claim_name()
    await first.round()
    second, _ = await move_in("one")
    with pytest.raises(NameTakenError):
        await second.claim_name()
    await connection.execute("UPDATE worker SET seen_at = seen_at - $1::interval", EXPIRY)
    await until(lambda: _claimed(second), "the name of a stopped process")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await first.round()
    assert session.is_closed()
    assert len(await second.round()) == len(PARTITIONS)


async def test_workers_that_are_gone_for_a_day_are_forgotten_and_one_that_is_stopped_is_not(
    move_in: Move, connection: Connection
) -> None:
    """By its row a successor finds the session to end; without it the name would be taken for ever."""
    stopped, session = await move_in("stopped")
    await stopped.claim_name()
    await stopped.round()
    await connection.execute("INSERT INTO worker VALUES ('gone', now(), 0), ('away', now(), 0)")
    await connection.execute("UPDATE worker SET seen_at = now() - interval '25 h' WHERE name <> 'away'")
    await connection.execute("UPDATE worker SET seen_at = now() - interval '23 h' WHERE name = 'away'")
    one, _ = await move_in("one")
    await one.claim_name()
    names = {row["name"] for row in await connection.fetch("SELECT name FROM worker")}
    assert names == {"stopped", "away"}
    second, _ = await move_in("stopped")
    await until(lambda: _claimed(second), "the name of a process that is stopped since yesterday")
    session.terminate()


async def test_only_a_lease_session_is_ended_for_a_name(
    move_in: Move, connection: Connection, store_settings: MakeSettings
) -> None:
    """Process ids are used again: one that now belongs to another session of this server is left alone."""
    first, _ = await move_in("one")
    await first.claim_name()
    await first.round()
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


async def test_shares_are_fair_between_two_and_three_and_none_is_held_twice(
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
    # Taken by one, by two, and by one again: each change of hands is a new epoch.
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
                assert {partition.number for partition in set(PARTITIONS) - (await one.round()).keys()} == {4}
    finally:
        await writing.close()
    assert len(await one.round()) == 25


async def test_a_partition_to_give_up_is_given_up_once_its_batch_is_written(
    move_in: Move, connection: Connection
) -> None:
    one, _ = await move_in("one")
    two, _ = await move_in("two")
    await one.round()
    await two.round()
    kept = await one.round(busy=set(PARTITIONS))
    assert len(kept) == 13, "what is to be given up is no longer to be read"
    assert Counter((await owners(connection)).values()) == {"one": 25}, "and not given up while a batch has it"
    leaving = sorted(set(PARTITIONS) - kept.keys())
    await one.round(busy={leaving[0]})
    assert Counter((await owners(connection)).values()) == {"one": 14, None: 11}


async def test_no_batch_delays_a_heartbeat(move_in: Move, store_settings: MakeSettings) -> None:
    """Every row is locked by a batch: nothing is given up or halted, and nothing waits."""
    one, _ = await move_in("one")
    two, _ = await move_in("two")
    epochs = await one.round()
    await two.round()
    writing = await postgres.connect(store_settings(), "ddor-test-writer")
    try:
        async with writing.transaction():
            await writing.execute("SELECT 1 FROM partition_position FOR UPDATE")
            async with asyncio.timeout(30):
                assert len(await one.round()) == 13
                assert await two.round() == {}
                await one.halt(PARTITIONS[0], epochs[PARTITIONS[0]], "seen again later")
    finally:
        await writing.close()
    assert len(await one.round()) == 13
    assert len(await two.round()) == 12


async def test_the_rules_by_which_a_partition_is_read_are_noted_where_they_change(
    move_in: Move, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the take that makes them hold, from the position at which it does."""

    async def noted() -> list[tuple[int, int]]:
        rows = await connection.fetch(
            "SELECT from_offset, version FROM acceptance_rules"
            " WHERE (topic, partition) = ('detainer-issued', 4) ORDER BY from_offset"
        )
        return [tuple(row) for row in rows]

    one, _ = await move_in("one")
    await one.round()
    assert await noted() == [(0, RULES_VERSION)]
    assert await connection.fetchval("SELECT count(*) FROM acceptance_rules") == len(PARTITIONS)
    await connection.execute("UPDATE partition_position SET next_offset = 70")
    await one.sign_off()
    await one.round()
    assert await noted() == [(0, RULES_VERSION)], "the same rules: nothing to note"
    await one.sign_off()
    monkeypatch.setattr(tenancy, "RULES_VERSION", RULES_VERSION + 1)
    await one.round()
    assert await noted() == [(0, RULES_VERSION), (70, RULES_VERSION + 1)]


async def test_a_halt_stays_through_restarts_and_changes_of_hands(move_in: Move, connection: Connection) -> None:
    stuck = PARTITIONS[5]
    one, session = await move_in("one")
    await one.claim_name()
    epochs = await one.round()
    await one.halt(stuck, epochs[stuck], "PositionLost: a test")
    session.terminate()
    again, _ = await move_in("one")
    await until(lambda: _claimed(again), "the name of an ended session")
    await again.round()
    assert again.halted == {}, "not known before the first round"
    await again.round()
    assert again.halted == {stuck: 0}
    leases = await again.held()
    assert {p: lease.halted for p, lease in leases.items() if lease.halted} == {stuck: "PositionLost: a test"}
    await again.sign_off()
    two, _ = await move_in("two")
    await two.round()
    await two.round()
    assert (await two.held())[stuck].halted == "PositionLost: a test"
    assert two.halted == {stuck: 0}, "shown by whoever has it"
    await again.round()
    assert again.halted == {}
    assert await connection.fetchval("SELECT count(*) FROM partition_position WHERE halted_reason IS NOT NULL") == 1


async def test_a_halt_of_an_epoch_that_is_over_does_nothing(move_in: Move, connection: Connection) -> None:
    one, _ = await move_in("one")
    epochs = await one.round()
    await one.halt(PARTITIONS[0], epochs[PARTITIONS[0]] - 1, "too late")
    assert await connection.fetchval("SELECT count(*) FROM partition_position WHERE halted_reason IS NOT NULL") == 0


async def test_an_orderly_end_leaves_nothing_held(move_in: Move, connection: Connection) -> None:
    one, _ = await move_in("one")
    await one.round()
    await one.sign_off()
    assert set((await owners(connection)).values()) == {None}
    assert await connection.fetchval("SELECT count(*) FROM worker") == 0


async def _claimed(tenancy: Tenancy) -> bool:
    try:
        await tenancy.claim_name()
    except NameTakenError:
        return False
    return True
