"""Invariants 1, 2 and 3: the real SQL against a model that shares no code with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.store import FencedError, Store
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import database_outcome, events, model
from tests.support.batches import OWNER, Record, accepted, batch, lease, logged
from tests.support.kafka_log import Message
from tests.support.positions import Connection, accounts, next_offsets

EXAMPLES = settings(max_examples=settings().max_examples // 5)
"""Each example builds a whole ledger, so there are a fifth as many as for pure functions."""


@pytest.fixture
def writer(store_settings: MakeSettings) -> Settings:
    return store_settings()


@st.composite
def runs(draw: st.DrawFn) -> tuple[Sequence[Message], list[int], set[int]]:
    """Records in some order, the batch boundaries, and the batches before which the process crashes."""
    messages = draw(events.records())
    order = draw(st.permutations(messages))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=6)))
    crashes = draw(st.sets(st.integers(0, len(cuts)), max_size=2))
    return order, cuts, crashes


@EXAMPLES
@given(run=runs())
async def test_invariant_2_ledger_history_conflicts_and_counters_are_a_function_of_the_set_of_records(
    writer: Settings, connection: Connection, run: tuple[Sequence[Message], list[int], set[int]]
) -> None:
    """The result for any order, repetition, batch boundary and crash equals the model, which is a function of a set."""
    order, cuts, crashes = run
    await _counted(writer, connection, logged(order), cuts, crashes)
    assert await database_outcome.outcome(connection) == model.outcome(accepted(order))


@EXAMPLES
@given(run=runs())
async def test_invariant_1_counters_equal_the_ledger(
    writer: Settings, connection: Connection, run: tuple[Sequence[Message], list[int], set[int]]
) -> None:
    """After every batch, not only at the end: n = facts not withdrawn, and no row with n = 0 or below."""
    order, cuts, crashes = run

    async def equal() -> None:
        counted = await connection.fetch("SELECT week, jurisdiction, kind, n FROM weekly_counter")
        of_ledger = await connection.fetch(
            "SELECT week, jurisdiction, kind, count(*) AS n FROM ledger WHERE NOT withdrawn GROUP BY 1, 2, 3"
        )
        assert sorted(map(tuple, counted)) == sorted(map(tuple, of_ledger))
        assert all(row["n"] > 0 for row in counted)

    await _counted(writer, connection, logged(order), cuts, crashes, equal)


@EXAMPLES
@given(run=runs())
async def test_invariant_3_records_are_ledger_history_duplicates_and_rejected(
    writer: Settings, connection: Connection, run: tuple[Sequence[Message], list[int], set[int]]
) -> None:
    order, cuts, crashes = run
    records = logged(order)
    await _counted(writer, connection, records, cuts, crashes)
    sums: Counter[str] = Counter()
    for partition, account in (await accounts(connection)).items():
        assert account["records"] == sum(one.at == partition for one in records)
        assert account["records"] == account["facts"] + account["duplicates"] + account["rejected"]
        assert account["rejected"] == account["rejects kept"]
        sums.update(account)
    facts = accepted(order)
    assert sums["records"] == len(order)
    assert sums["facts"] == model.distinct(facts)
    assert sums["rejected"] == len(order) - len(facts)


async def test_a_withdrawal_and_a_move_delete_the_counter_rows(writer: Settings, connection: Connection) -> None:
    messages = [
        events.message("issued", events.issued(1)),
        events.message("issued", events.issued(1, version=2, jurisdiction="32031")),
        events.message("issued", events.issued(1, version=3, withdrawn=True, withdrawn_reason="wrong-person")),
    ]
    seen = []

    async def look() -> None:
        rows = await connection.fetch("SELECT jurisdiction, n FROM weekly_counter")
        seen.append([tuple(row) for row in rows])

    await _counted(writer, connection, logged(messages), [1, 2], set(), look)
    assert seen == [[("32003", 1)], [("32031", 1)], []]


async def test_a_fact_counts_again_after_its_withdrawal_is_reverted(writer: Settings, connection: Connection) -> None:
    messages = [
        events.message("issued", events.issued(1, withdrawn=True, withdrawn_reason="wrong-person")),
        events.message("issued", events.issued(1, version=2)),
    ]
    await _counted(writer, connection, logged(messages), [1], set())
    assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
    assert await connection.fetchval("SELECT n FROM weekly_counter") == 1


async def test_a_late_lower_version_is_history_and_counts_nothing(writer: Settings, connection: Connection) -> None:
    new = events.message("issued", events.issued(1, version=7))
    old = events.message("issued", events.issued(1, version=6, jurisdiction="32031"))
    await _counted(writer, connection, logged([new, old, old]), [1, 2], set())
    assert await connection.fetchval("SELECT count(*) FROM history") == 1
    assert await connection.fetchval("SELECT sum(duplicates) FROM partition_position") == 1
    assert [tuple(row) for row in await connection.fetch("SELECT jurisdiction, n FROM weekly_counter")] == [
        ("32003", 1)
    ]


async def test_a_conflict_is_open_until_a_higher_version_arrives(writer: Settings, connection: Connection) -> None:
    one = events.message("issued", events.issued(1))
    other = events.message("issued", events.issued(1, jurisdiction="32031"))
    settled = events.message("issued", events.issued(1, version=2))
    seen = []

    async def look() -> None:
        seen.append(await connection.fetchval("SELECT fingerprints FROM open_conflict"))

    await _counted(writer, connection, logged([one, other, other, settled]), [1, 2, 3], set(), look)
    assert seen == [None, 2, 2, None]


async def _counted(
    settings: Settings,
    connection: Connection,
    records: Sequence[Record],
    cuts: Sequence[int],
    crashes: set[int],
    after_each: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Count records in batches from an empty database with crashes. After each crash, read again from the positions."""
    await database_outcome.forget(connection)
    await lease(connection, {record.at for record in records})
    store, writing = await _started(settings)
    try:
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(records)], strict=True)):
            if start >= end:
                continue
            if number in crashes:
                await _die_while_writing(settings, records[start:end])
            positions = await next_offsets(connection)
            again = [one for one in records[:end] if one.offset >= positions[one.at]]
            assert again == list(records[start:end]), "the positions after a crash are those before it"
            await store.write(batch(again))
            if number % 2:
                with pytest.raises(FencedError):
                    await store.write(batch(again))
            if after_each is not None:
                await after_each()
    finally:
        await writing.close()


async def _started(settings: Settings) -> tuple[Store, Connection]:
    connection = await postgres.connect(settings, "ddor-test-writer")
    store = Store(connection, OWNER)
    await store.prepare()
    return store, connection


async def _die_while_writing(settings: Settings, records: Sequence[Record]) -> None:
    """The connection breaks after the last statement of the batch and before the commit."""
    store, connection = await _started(settings)
    transaction = connection.transaction()
    await transaction.start()
    await store.write(batch(records))
    connection.terminate()
