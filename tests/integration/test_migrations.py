"""The schema's migrations on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from services.runtime import migrations
from services.runtime.errors import ConfigurationError
from tests.support.positions import Connection

_FIGURES = {
    "offsets": {"detainer-issued": {"3": 17}},
    "totals": {"issued": 55, "declined": 7},
    "demonstration": False,
    "jurisdictions": [
        {"geoid": "32003", "issued": 51, "declined": 7},
        {"geoid": "36059", "issued": 4, "declined": None},
    ],
}


@pytest.fixture
async def empty(empty_database: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty_database)
    try:
        yield connection
    finally:
        await connection.close()


async def _schema(connection: Connection) -> list[tuple[str, str, str]]:
    rows = await connection.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'ddor'"
        " ORDER BY 1, ordinal_position"
    )
    return [(row["table_name"], row["column_name"], row["data_type"]) for row in rows]


async def test_migrations_applied_twice_are_applied_once(empty: Connection) -> None:
    assert await migrations.apply(empty) == migrations.migrations()
    schema = await _schema(empty)
    assert await migrations.apply(empty) == []
    assert await _schema(empty) == schema


async def test_the_public_tables_exist(empty: Connection) -> None:
    await migrations.apply(empty)
    found: dict[str, set[str]] = {}
    for table, column, _ in await _schema(empty):
        found.setdefault(table, set()).add(column)
    for table, columns in {
        "weekly_counter": {"week", "jurisdiction", "kind", "n"},
        "ledger": {"kind", "agency", "detainer_id", "version", "week", "jurisdiction", "withdrawn"},
        "partition_position": {"topic", "partition", "next_offset", "epoch", "owner", "halted_reason"},
        "rejected": {"topic", "partition", "kafka_offset", "reason", "field", "detail", "sha256"},
        "report": {"week", "revision", "digest", "figures", "published_at"},
    }.items():
        assert columns <= found[table], table


async def test_a_database_of_an_older_release_is_migrated_with_its_reports(
    empty: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrations.migrations()
    with monkeypatch.context() as before:
        before.setattr(migrations, "migrations", lambda: known[:1])
        await migrations.apply(empty)
    await empty.execute(
        "INSERT INTO ddor.report (week, revision, cause, digest, figures_digest, figures, published_at, sequence)"
        " VALUES ('2017-01-28', 1, 'initial', '', '', $1, now(), 1)",
        json.dumps(_FIGURES),
    )
    assert await migrations.apply(empty) == known[1:]
    offsets = await empty.fetchval("SELECT offsets_now(figures -> 'offsets', sequence) FROM report")
    assert json.loads(offsets) == {"detainer-issued": {"3": 17}}
    assert list(map(tuple, await empty.fetch("SELECT issued, declined, demonstration FROM report"))) == [(55, 7, False)]
    rows = await empty.fetch("SELECT geoid, issued, declined FROM published_figure ORDER BY geoid")
    assert list(map(tuple, rows)) == [("32003", 51, 7), ("36059", 4, None)]


async def test_migrations_applied_concurrently_are_applied_once(empty_database: str) -> None:
    connections = [await asyncpg.connect(empty_database) for _ in range(4)]
    try:
        applied = await asyncio.gather(*(migrations.apply(connection) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(map(len, applied)) == [0, 0, 0, len(migrations.migrations())]


async def test_a_file_changed_after_it_was_applied_is_refused(
    empty: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrations.migrations()
    await migrations.apply(empty)
    changed = [replace(known[0], sha256="0" * 64), *known[1:]]
    monkeypatch.setattr(migrations, "migrations", lambda: changed)
    with pytest.raises(ConfigurationError, match=r"0001_initial\.sql was changed after it was applied"):
        await migrations.apply(empty)


async def test_a_database_of_a_newer_release_is_refused(empty: Connection) -> None:
    await migrations.apply(empty)
    await empty.execute("INSERT INTO ddor.migration (number, name, sha256) VALUES (9999, 'from_the_future', 'x')")
    with pytest.raises(ConfigurationError, match="migration 9999, which this release does not have"):
        await migrations.apply(empty)


async def test_a_failed_migration_is_rolled_back(empty: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrations.migrations()
    bad = migrations.Migration(9998, "bad", "CREATE TABLE half (n int); SELECT 1 / 0", "x" * 64)
    monkeypatch.setattr(migrations, "migrations", lambda: [*known, bad])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrations.apply(empty)
    assert await empty.fetchval("SELECT to_regclass('ddor.half')") is None
    monkeypatch.setattr(migrations, "migrations", lambda: known)
    assert await migrations.apply(empty) == [], "the other migrations are still applied"
