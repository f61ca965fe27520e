"""Positions, leases and the accounts of records, as stored in the database."""

from __future__ import annotations

from typing import Any, TypeAlias

import asyncpg

from schemas.log import Partition, Vector

Connection: TypeAlias = "asyncpg.Connection[Any]"

_FACTS = """
SELECT 'detainer-' || kind::text AS topic, partition::int AS partition, count(*) AS n
FROM (SELECT kind, partition FROM ledger_entry UNION ALL SELECT kind, partition FROM history) AS fact
GROUP BY 1, 2
UNION ALL
SELECT 'week-attested', partition, count(*) FROM attestation GROUP BY 1, 2
"""


async def next_offsets(connection: Connection) -> Vector:
    """The position of each partition."""
    rows = await connection.fetch("SELECT topic, partition, next_offset FROM partition_position")
    return Vector({_partition(row): row["next_offset"] for row in rows})


async def owners(connection: Connection) -> dict[Partition, str | None]:
    """The owner of each partition's lease."""
    rows = await connection.fetch("SELECT topic, partition, owner FROM partition_position")
    return {_partition(row): row["owner"] for row in rows}


async def halted(connection: Connection) -> dict[Partition, str]:
    """The halted partitions, with their reasons."""
    rows = await connection.fetch("SELECT * FROM partition_position WHERE halted_reason IS NOT NULL")
    return {_partition(row): row["halted_reason"] for row in rows}


async def accounts(connection: Connection) -> dict[Partition, dict[str, int]]:
    """For each partition with records: the numbers of records, facts, duplicates and rejects."""
    facts = {_partition(row): row["n"] for row in await connection.fetch(_FACTS)}
    kept = await connection.fetch("SELECT topic, partition, count(*) AS n FROM rejected GROUP BY topic, partition")
    rejects = {_partition(row): row["n"] for row in kept}
    rows = await connection.fetch("SELECT topic, partition, records, duplicates, rejected FROM partition_position")
    return {
        partition: {
            "records": row["records"],
            "facts": facts.get(partition, 0),
            "duplicates": row["duplicates"],
            "rejected": row["rejected"],
            "rejects kept": rejects.get(partition, 0),
        }
        for row in rows
        if facts.get(partition := _partition(row)) or row["records"]
    }


def _partition(row: asyncpg.Record) -> Partition:
    return Partition(row["topic"], row["partition"])


async def everything(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that a batch can change, for comparison before and after."""
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
