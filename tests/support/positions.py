"""Positions and what they account for, as the database has them."""

from __future__ import annotations

from typing import Any, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[Any]"
Offsets = dict[tuple[str, int], int]

_FACTS = """
SELECT 'detainer-' || kind::text AS topic, partition::int AS partition, count(*) AS n
FROM (SELECT kind, partition FROM ledger_entry UNION ALL SELECT kind, partition FROM history) AS fact
GROUP BY 1, 2
UNION ALL
SELECT 'week-attested', partition, count(*) FROM attestation GROUP BY 1, 2
"""


async def next_offsets(connection: Connection) -> Offsets:
    """The position of each partition."""
    rows = await connection.fetch("SELECT topic, partition, next_offset FROM partition_position")
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def owners(connection: Connection) -> dict[tuple[str, int], str | None]:
    """Who holds each partition."""
    rows = await connection.fetch("SELECT topic, partition, owner FROM partition_position")
    return {(row["topic"], row["partition"]): row["owner"] for row in rows}


async def halted(connection: Connection) -> dict[tuple[str, int], str]:
    """The partitions that are halted, and why."""
    rows = await connection.fetch("SELECT * FROM partition_position WHERE halted_reason IS NOT NULL")
    return {(row["topic"], row["partition"]): row["halted_reason"] for row in rows}


async def accounts(connection: Connection) -> dict[tuple[str, int], dict[str, int]]:
    """For each partition with records: how many, and how many facts, duplicates and rejects they became."""
    facts = {(row["topic"], row["partition"]): row["n"] for row in await connection.fetch(_FACTS)}
    kept = await connection.fetch("SELECT topic, partition, count(*) AS n FROM rejected GROUP BY topic, partition")
    rejects = {(row["topic"], row["partition"]): row["n"] for row in kept}
    rows = await connection.fetch("SELECT topic, partition, records, duplicates, rejected FROM partition_position")
    return {
        (row["topic"], row["partition"]): {
            "records": row["records"],
            "facts": facts.get((row["topic"], row["partition"]), 0),
            "duplicates": row["duplicates"],
            "rejected": row["rejected"],
            "rejects kept": rejects.get((row["topic"], row["partition"]), 0),
        }
        for row in rows
        if row["records"] or facts.get((row["topic"], row["partition"]))
    }


async def everything(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that a batch can change, to compare before and after."""
    tables = (
        "ledger_entry",
        "history",
        "attestation",
        "decline_detail",
        "weekly_counter",
        "partition_position",
        "rejected",
    )
    return {
        table: sorted((tuple(row) for row in await connection.fetch(f"SELECT * FROM {table}")), key=repr)
        for table in tables
    }
