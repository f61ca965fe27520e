"""The declared locks, rewrites and reads of each migration are those of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.runtime import migration_locks, migrations
from services.runtime.migrations import Migration
from tests.support.migration_effects import measured, written
from tests.support.positions import Connection


@pytest.fixture
async def empty(empty_database: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty_database)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("migration", migrations.migrations(), ids=lambda one: one.stem)
async def test_the_declared_effects_of_a_migration_are_the_measured_ones(
    empty: Connection, migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = migrations.migrations()[: migration.number - 1]
    monkeypatch.setattr(migrations, "migrations", lambda: earlier)
    await migrations.apply(empty)
    await empty.execute("SET search_path = ddor")
    found = await measured(empty, migration)
    declared = migration_locks.declared().get(migration.stem)
    right = f"write into deploy/migrations/locks.toml:\n{written(migration.stem, found)}"
    assert declared is not None, right
    assert declared.tables == found, right
