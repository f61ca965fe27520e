"""``python -m tests.bench.storage``: bytes per event in Kafka's log and in PostgreSQL.

Events go through ingest and the aggregator as processes: the acceptance week with `ddor import`, then synthetic events
as lines, as single requests, as second versions, and again on topics that the broker compresses. Sizes are those of the
log's segments, of tables with their indexes, and of PostgreSQL's write-ahead log, in the end also without events.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local import postgres_install
from deploy.local.stack import Stack
from schemas.topics import EVENT_TOPICS
from services.cli.console import out, table
from services.ingest.body.media_types import LINES, SINGLE
from tests.bench import corpus
from tests.bench.client import Client
from tests.bench.machine import load
from tests.bench.stacks import native_stack
from tests.support import kafka_log
from tests.support.positions import Connection
from tests.support.stacks import looking

_FIGURES = Path(__file__).parents[2] / "deploy" / "demo" / "2017-01-28.csv"
_IMPORT = ("import", str(_FIGURES), "--profile", "acceptance-week", "--dataset", "first-report", "--journal")
_BODY_LINES = 10_000
_TABLES = """
SELECT COALESCE(pg_partition_root(oid), oid)::regclass::text AS name, sum(pg_total_relation_size(oid))::bigint AS size
FROM pg_class WHERE relnamespace = 'ddor'::regnamespace AND relkind = 'r' GROUP BY 1
"""


class Sizes(NamedTuple):
    """Bytes of the log, of each table with its indexes, and of all write-ahead log so far."""

    log: int
    tables: Counter[str]
    wal: int


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storage", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--singles", type=int, default=5_000)
    parser.add_argument("--idle", type=int, default=60, help="seconds without events")
    arguments = parser.parse_args()
    out.print(load())
    with native_stack() as stack:
        for service in stack.services.values():
            service.start()
        asyncio.run(_run(stack, arguments.events, arguments.singles, arguments.idle))


async def _run(stack: Stack, events: int, singles: int, idle: int) -> None:
    records = [value.replace(b"/agencies/bench", b"/agencies/demo") for _, value in corpus.events(events, seed=1)]
    again = [value.replace(b'"version":1', b'"version":2') for value in records]
    alone = [value.replace(b"/agencies/bench", b"/agencies/demo") for _, value in corpus.events(singles, seed=2)]
    client = Client(stack.services["ingest"], stack.state.agency_key(), None)
    shown = table("Events", ">Number", ">Log", ">PostgreSQL", ">WAL", "Of PostgreSQL", title="Bytes per event")
    async with looking(stack.variables()["DDOR_POSTGRES_DSN"]) as connection:
        sizes = await _sizes(stack, connection)

        async def row(what: str, number: int) -> None:
            nonlocal sizes
            await kafka_log.counted(connection, stack.kafka.bootstrap, 1_800)
            now = await _sizes(stack, connection)
            shown.add_row(what, f"{number:,}", *_per_event(sizes, now, number))
            sizes = now

        await asyncio.to_thread(stack.run, *_IMPORT, str(stack.state.directory / "journal"))
        await row("acceptance week, imported", 3_555)
        await client.post_all(_bodies(records), LINES, events, connections=2)
        await row("issued, as lines", events)
        await client.post_all(_bodies(again), LINES, events, connections=2)
        await row("the same, version 2", events)
        await client.post_all(alone, SINGLE, singles)
        await row("issued, one in a request", singles)
        await _compress(stack.kafka.bootstrap)
        await client.post_all(_bodies(records), LINES, events, connections=2)
        await row("repeated, topics with zstd", events)
        await client.post_all(alone, SINGLE, singles)
        await row("repeated, one in a request, zstd", singles)
        dump = await asyncio.to_thread(_dump, stack.variables()["DDOR_POSTGRES_DSN"])
        await asyncio.sleep(idle)
        now = await _sizes(stack, connection)
        rows = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM ledger_entry) AS ledger, (SELECT count(*) FROM history) AS history,"
            " (SELECT count(*) FROM decline_detail) AS details"
        )
    out.print(shown)
    out.print(f"bytes per row: {_per_row(now.tables, dict(rows or {}))}; pg_dump --format=custom: {dump:,} bytes")
    out.print(f"write-ahead log without events: {(now.wal - sizes.wal) * 60 // idle:,} bytes a minute")


def _bodies(values: list[bytes]) -> list[bytes]:
    return [b"\n".join(values[at : at + _BODY_LINES]) for at in range(0, len(values), _BODY_LINES)]


async def _sizes(stack: Stack, connection: Connection) -> Sizes:
    data = stack.state.directory.parent / "kafka" / "data"
    log = sum(file.stat().st_size for topic in EVENT_TOPICS for file in data.glob(f"{topic.name}-*/*.log"))
    tables = Counter({row["name"]: row["size"] for row in await connection.fetch(_TABLES)})
    wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
    return Sizes(log, tables, wal)


def _per_event(before: Sizes, now: Sizes, number: int) -> list[str]:
    grown = now.tables - before.tables
    parts = ", ".join(f"{name} {size / number:.0f}" for name, size in grown.most_common(4))
    totals = (now.log - before.log, sum(grown.values()), now.wal - before.wal)
    return [*(f"{size / number:,.0f}" for size in totals), parts]


def _per_row(tables: Counter[str], rows: dict[str, int]) -> str:
    names = {"ledger_entry": "ledger", "history": "history", "decline_detail": "details"}
    return ", ".join(f"{name} {tables[name] / rows[of]:.0f} ({rows[of]:,} rows)" for name, of in names.items())


async def _compress(bootstrap: str) -> None:
    """Let the broker compress new records of the event topics."""
    config = {"compression.type": "zstd"}
    async with kafka_log.admin(bootstrap) as client:
        await client.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=config) for topic in EVENT_TOPICS]
        )


def _dump(dsn: str) -> int:
    command = [str(postgres_install.find_install().bin / "pg_dump"), "--format=custom", dsn]
    return len(subprocess.run(command, capture_output=True, check=True).stdout)


if __name__ == "__main__":
    main()
