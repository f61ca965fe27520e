"""``python -m tests.bench.aggregator``: throughput of the aggregator, compared with upper bounds.

All in one run on one machine, medians of rounds: (a) reading the records and nothing else; (b) COPY of the same rows,
in batches of the same size each committed, into a table with the same columns, key and indexes; (c) the aggregator as a
separate process, with random and time-ordered ids, into an empty ledger and a full one; (d) one record at a time with
one upsert each. PostgreSQL has its default durability.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.table import Table

from deploy.local.databases import database_dsn
from deploy.local.service import Service
from deploy.local.stack import Stack
from schemas.acceptance_fast import accept_fast
from schemas.week import ReportingCalendar, WeekIndex
from services.aggregator.worker import MAX_RECORDS
from services.cli.console import out, table
from tests.bench import corpus, plain_aggregator
from tests.bench.machine import Measured, Usage, load, middle
from tests.bench.stacks import native_stack

_LEDGER = (
    "detainer_id", "fingerprint", "version", "kafka_offset", "kind", "week", "agency", "partition", "withdrawn",
    "jurisdiction", "form",
)  # fmt: skip
_ONE_BY_ONE = 3_000
_FILL = """
INSERT INTO ledger_entry (detainer_id, fingerprint, version, kafka_offset, kind, week, agency, partition, withdrawn,
                          jurisdiction, form)
SELECT gen_random_uuid(), decode(md5(n::text), 'hex'), 1, n, 'issued', date '2016-01-02' + 7 * (n % 50)::integer, 1,
       (n % 6)::smallint, false, '32003', 'I-247D'
FROM generate_series($1::bigint, $2::bigint) AS n
"""


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.aggregator", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", type=int, default=10_000_000, help="rows of the full ledger; 0 leaves it out")
    arguments = parser.parse_args()
    out.print(load())
    with native_stack() as stack:
        measured = asyncio.run(_run(stack, arguments.events, arguments.rounds, arguments.full))
    out.print(measured)


async def _run(stack: Stack, events: int, rounds: int, full: int) -> Table:
    bench = Bench(stack, events, rounds)
    results: list[tuple[str, Measured]] = []
    for ordered in (False, True):
        ids = "time-ordered ids" if ordered else "random ids"
        await bench.fill_topic(ordered)
        if not ordered:
            results.append(("(a) reading alone", await bench.repeat("(a)", bench.drain)))
        for rows in (0, full) if full else (0,):
            into = f"{ids}, {f'{rows:,} rows' if rows else 'empty'}"
            await bench.prepare_database(rows)
            results.append((f"(b) COPY alone, {into}", await bench.repeat(f"(b) {into}", bench.copy)))
            results.append((f"(c) aggregator, {into}", await bench.repeat(f"(c) {into}", bench.aggregate)))
    await bench.prepare_database(0)
    results.append(("(d) one upsert per record", await bench.repeat("(d)", bench.one_by_one)))
    return _table(results, events, rounds)


class Bench:
    """The measured variants, on one stack of native parts."""

    def __init__(self, stack: Stack, events: int, rounds: int) -> None:
        self._stack = stack
        self._events = events
        self._rounds = rounds
        self._client: dict[str, Any] = {"bootstrap_servers": stack.kafka.bootstrap}
        self._seed = 1
        self._rows: list[tuple[Any, ...]] = []
        self._services = 0

    async def repeat(self, name: str, measure: Any) -> Measured:  # an async method without arguments
        """The median of the rounds."""
        found = []
        for number in range(self._rounds):
            found.append(await measure())
            out.print(f"  {name}, round {number + 1}: {found[-1].rate:,.0f}/s")
        return middle(found)

    async def fill_topic(self, ordered: bool) -> None:
        """Recreate the topics and write the corpus; keep its rows for (b)."""
        self._stack.kafka.destroy()
        self._stack.kafka.start()
        self._stack.run("topics", "apply")
        self._seed += 1
        await corpus.produce(self._client, corpus.events(self._events, seed=self._seed, time_ordered=ordered))
        weeks = WeekIndex(ReportingCalendar(ZoneInfo("America/New_York")))
        seen: set[bytes] = set()
        self._rows = []
        for offset, (key, value) in enumerate(corpus.events(self._events, seed=self._seed, time_ordered=ordered)):
            if key not in seen:
                seen.add(key)
                fact = accept_fast(value)
                self._rows.append(
                    (fact.detainer_id, fact.fingerprint, 1, offset, "issued", weeks.first_day(fact.counted_us), 1, 0,
                     False, fact.jurisdiction, fact.form)
                )  # fmt: skip

    async def prepare_database(self, rows: int) -> None:
        """A template database with this many rows in its ledger."""
        await self._drop("bench_template")
        await self._admin('CREATE DATABASE bench_template TEMPLATE "ddor"')
        connection = await self._connect("bench_template")
        try:
            await connection.execute("INSERT INTO agency (name) VALUES ('bench')")
            for start in range(0, rows, 1_000_000):
                await connection.execute(_FILL, start, min(rows, start + 1_000_000) - 1, timeout=600)
            if rows:
                await connection.execute("VACUUM ANALYZE ledger_entry", timeout=600)
            await connection.execute("CHECKPOINT", timeout=600)
        finally:
            await connection.close()

    async def drain(self) -> Measured:
        """(a): getmany and nothing else."""
        consumer = AIOKafkaConsumer(**self._client, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        consumer.assign([TopicPartition(corpus.TOPIC.name, number) for number in range(corpus.PARTITIONS)])
        usage = Usage(psutil.Process())
        count = 0
        try:
            while count < self._events:
                found = await consumer.getmany(timeout_ms=1_000, max_records=MAX_RECORDS)
                count += sum(len(records) for records in found.values())
            return Measured(count / usage.seconds, usage.cpu_seconds / count * 1e6)
        finally:
            await consumer.stop()

    async def copy(self) -> Measured:
        """(b): the ledger's table, filled by COPY in batches, each committed."""
        async with self._fresh() as connection:
            usage = Usage(psutil.Process())
            for start in range(0, len(self._rows), MAX_RECORDS):
                rows = self._rows[start : start + MAX_RECORDS]
                await connection.copy_records_to_table("ledger_entry", records=rows, columns=_LEDGER)
            return Measured(len(self._rows) / usage.seconds, usage.cpu_seconds / len(self._rows) * 1e6)

    async def aggregate(self) -> Measured:
        """(c): the service, from its first counted record to its last."""
        async with self._fresh() as connection:
            self._services += 1
            service = self._stack.another(
                "aggregator",
                f"bench-{self._services}",
                settings={"DDOR_POSTGRES_DSN": database_dsn(self._stack.postgres.dsn, "bench")},
            )
            service.spawn()
            try:
                return await self._watch(connection, service)
            finally:
                service.stop()

    async def _watch(self, connection: asyncpg.Connection[Any], service: Service) -> Measured:
        began: tuple[int, Usage] | None = None
        while True:
            counted = int(await connection.fetchval("SELECT COALESCE(sum(records), 0) FROM partition_position"))
            if counted and began is None:
                began = counted, Usage(_process(service))
            if began is not None and counted >= self._events:
                first, usage = began
                events = counted - first
                return Measured(events / usage.seconds, usage.cpu_seconds / events * 1e6, usage.peak_megabytes)
            await asyncio.sleep(0.02)

    async def one_by_one(self) -> Measured:
        """(d): like a typical service: per record one upsert, one commit and one acknowledgement."""
        async with self._fresh() as connection:
            return Measured(await plain_aggregator.count(self._stack.kafka.bootstrap, connection, _ONE_BY_ONE))

    @asynccontextmanager
    async def _fresh(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection to a copy of the template database."""
        await self._drop("bench")
        await self._admin("CREATE DATABASE bench TEMPLATE bench_template STRATEGY FILE_COPY")
        connection = await self._connect("bench")
        try:
            yield connection
        finally:
            await connection.close()

    async def _connect(self, database: str) -> asyncpg.Connection[Any]:
        dsn = database_dsn(self._stack.postgres.dsn, database)
        return await asyncpg.connect(dsn, server_settings={"search_path": "ddor"})

    async def _admin(self, statement: str) -> None:
        connection = await asyncpg.connect(self._stack.postgres.dsn)
        try:
            await connection.execute(statement, timeout=600)
        finally:
            await connection.close()

    async def _drop(self, database: str) -> None:
        await self._admin(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def _process(service: Service) -> psutil.Process:
    process = service.process.find()
    assert process is not None, "the aggregator runs"
    return process


def _table(results: list[tuple[str, Measured]], events: int, rounds: int) -> Table:
    title = f"{events:,} events of about 600 bytes, 2 % repeated, {rounds} rounds, medians"
    shown = table("", ">events/s", ">share of (b)", ">CPU us/event", ">peak MB", title=title)
    base = 0.0
    for name, found in results:
        if name.startswith("(b)"):
            base = found.rate
        share = f"{found.rate / base:.2f}" if name.startswith("(c)") else ""
        cpu = f"{found.cpu_us:.1f}" if found.cpu_us is not None else ""
        memory = f"{found.megabytes:.0f}" if found.megabytes is not None else ""
        shown.add_row(name, f"{found.rate:,.0f}", share, cpu, memory)
    return shown


if __name__ == "__main__":
    main()
