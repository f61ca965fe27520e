"""The statements of the desk on tables that grow: each reads an index, not the table."""

from __future__ import annotations

from datetime import UTC, datetime

from services.publisher.desk.queries import SQL
from tests.support.positions import Connection


async def test_tables_that_grow_are_read_through_an_index(connection: Connection) -> None:
    """Fifty weeks of facts, and as many actions as after a large redrive."""
    await connection.execute("INSERT INTO agency (name) VALUES ('demo')")
    await connection.execute(
        "INSERT INTO ledger_entry SELECT gen_random_uuid(), '', 1, n, 'issued', date '2016-01-02' + 7 * (n / 1000),"
        " 1, 0, false, '32003'"
        " FROM generate_series(0, 49999) n"
    )
    await connection.execute(
        "INSERT INTO operator_action (by, action, subject) SELECT 'a', 'redrive', n FROM generate_series(1, 20000) n"
    )
    await connection.execute("ANALYZE ledger_entry, operator_action")
    plans = {
        "heard": await _plan(connection, "heard", [datetime(2016, 5, 7, tzinfo=UTC).date()]),
        "actions": await _plan(connection, "actions"),
    }
    assert "Bitmap Index Scan on ledger_entry_week" in plans["heard"]
    assert "Seq Scan on ledger_entry" not in plans["heard"]
    assert "Index Scan Backward using operator_action_pkey" in plans["actions"]


async def _plan(connection: Connection, name: str, *arguments: object) -> str:
    rows = await connection.fetch(f"EXPLAIN {SQL[name]}", *arguments)
    return "\n".join(row[0] for row in rows)
