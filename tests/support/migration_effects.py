"""Measures what a migration does to the tables that exist before it: locks, rewrites and reads of all rows."""

from __future__ import annotations

import json

from services.runtime.migration_locks import MODES, TableEffect
from services.runtime.migrations import Migration
from tests.support.positions import Connection

_TABLES = (
    "SELECT oid, relname, pg_relation_filenode(oid) AS file FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = 'ddor'::regnamespace AND relname <> 'migration'"
)
_LOCKS = (
    "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted"
    " AND relation = ANY($1::oid[])"
)
_READS = "SELECT relid, seq_scan FROM pg_stat_xact_user_tables WHERE relid = ANY($1::oid[])"
"""Sequential scans of this session, until PostgreSQL adds them to its statistics. Building an index counts as one."""


async def measured(connection: Connection, migration: Migration) -> dict[str, TableEffect]:
    """Apply the file in a transaction, as `ddor migrate` does, and return its effects on each table that existed."""
    before = {row["oid"]: row for row in await connection.fetch(_TABLES)}
    async with connection.transaction():
        scans = await _scans(connection, [*before])
        await connection.execute(migration.sql)
        locks: dict[int, list[str]] = {}
        for row in await connection.fetch(_LOCKS, [*before]):
            locks.setdefault(row["relation"], []).append(_spelled(row["mode"]))
        files = {row["oid"]: row["file"] for row in await connection.fetch(_TABLES)}
        reads = {oid for oid, number in (await _scans(connection, [*before])).items() if number > scans.get(oid, 0)}
        return {
            row["relname"]: TableEffect(max(locks[oid], key=MODES.index), files[oid] != row["file"], oid in reads)
            for oid, row in before.items()
            if oid in locks  # nothing is read or rewritten without a lock
        }


async def _scans(connection: Connection, tables: list[int]) -> dict[int, int]:
    return {row["relid"]: row["seq_scan"] for row in await connection.fetch(_READS, tables)}


def _spelled(mode: str) -> str:
    """`ShareRowExclusiveLock` as `SHARE ROW EXCLUSIVE`."""
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in mode.removesuffix("Lock"))
    return words.strip().upper()


def written(name: str, effects: dict[str, TableEffect]) -> str:
    """The lines for `locks.toml`, for a developer who adds a migration."""
    locks = ", ".join(f'{table} = "{effect.mode}"' for table, effect in sorted(effects.items()))
    lines = [f"[{name}]", 'changes = "..."', *([f"locks = {{ {locks} }}"] if locks else [])]
    for what, tables in (
        ("rewrites", sorted(table for table, effect in effects.items() if effect.rewrites)),
        ("reads", sorted(table for table, effect in effects.items() if effect.reads)),
    ):
        if tables:
            lines.append(f"{what} = {json.dumps(tables)}")
    return "\n".join(lines)
