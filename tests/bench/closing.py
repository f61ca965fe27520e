"""``python -m tests.bench.closing``: duration of a week's close after ten years of data, and of verify.

A ledger of ten million facts in 520 weeks and 600 jurisdictions, its counters, and a report of each week. The last
weeks are closed for real, with and without the restatement check of the provisional weeks before them: from the moment
at which all positions are at the barrier until the report is on Kafka. Then a log is counted, closed and verified by
replaying it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg
import structlog
from pydantic import SecretStr

from deploy.local.databases import ensure_database
from deploy.local.parts import choose_kafka, choose_postgres
from schemas.jurisdiction import registry
from schemas.topics import EVENT_TOPICS
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.cli.console import out, table
from services.publisher.closing import Close, State
from services.publisher.queries import SQL
from services.publisher.relay import Relay
from services.publisher.store import Store
from services.runtime import migrations, postgres
from services.runtime.settings import Settings
from tests.bench import corpus, pages
from tests.bench.machine import load
from tests.support import commands, kafka_log
from tests.support.agencies import LAS_VEGAS, write_agencies
from tests.support.batches import CALENDAR
from tests.support.in_process import running
from tests.support.local_parts import started
from tests.support.publishing import client, publishing, report_inputs

WEEKS, JURISDICTIONS, PROVISIONAL = 520, 600, 8
MEASURED = 5
CLOSED_FOR_REAL = PROVISIONAL + 2 * MEASURED
FIRST, REPLAYED = CALENDAR.week(date(2007, 1, 27)), CALENDAR.week(date(2017, 1, 28))

_FILL = """
INSERT INTO ledger_entry (detainer_id, fingerprint, version, kafka_offset, kind, week, agency, partition, withdrawn,
                          jurisdiction, form)
SELECT gen_random_uuid(), decode(md5(n::text), 'hex'), 1, at / 12, kind::detainer_kind,
       $3::date + 7 * (n * $4 / $5)::integer, 1, (at % 12)::smallint, false, ($6::text[])[1 + n % $7], 'I-247D'
FROM (SELECT n, CASE WHEN n % 15 = 0 THEN 'declined' ELSE 'issued' END AS kind,
             CASE WHEN n % 15 = 0 THEN n / 15 ELSE n END AS at
      FROM generate_series($1::bigint, $2::bigint) AS n) AS fact
"""
_DETAILS = """
INSERT INTO decline_detail (detainer_id, agency, issued_at, declined_at, recorded_at, operator, reason, citizenship,
                            offenses)
SELECT detainer_id, agency, week::timestamptz + interval '1 day', week::timestamptz + interval '2 days',
       week::timestamptz + interval '3 days', 'county', 'policy', 'MEX', ARRAY['13A:charged', '90D:convicted']
FROM ledger_entry WHERE kind = 'declined'
"""
_ACCOUNTS = """
INSERT INTO weekly_counter (week, jurisdiction, kind, n)
SELECT week, jurisdiction, kind::text, count(*) FROM ledger_entry GROUP BY 1, 2, 3;
INSERT INTO partition_position (topic, partition, next_offset, records)
SELECT 'detainer-' || kind::text, partition, max(kafka_offset) + 1, count(*) FROM ledger_entry GROUP BY 1, 2
"""
_PROVEN = """
INSERT INTO proven_position (topic, partition, next_offset, records, duplicates, rejected)
SELECT p.topic, p.partition, COALESCE(max(l.kafka_offset) + 1, 0), count(l), 0, 0
FROM partition_position p
LEFT JOIN ledger_entry l ON 'detainer-' || l.kind::text = p.topic AND l.partition = p.partition AND l.week < $1
GROUP BY p.topic, p.partition
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset, records = EXCLUDED.records
"""
"""Proves the facts of earlier weeks, as the report of the week before does."""
_REPORTS = """
INSERT INTO report (week, revision, cause, digest, figures_digest, figures, published_at, sequence)
SELECT $1::date + 7 * n, 1, 'initial', md5(n::text), md5(n::text),
       $2::jsonb || jsonb_build_object('week_start', $1::date + 7 * n),
       $3::timestamptz + n * interval '7 days', n + 1
FROM generate_series(0, $4 - 1) AS n
"""


def main() -> None:
    """Run both parts and print their table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.closing", description=__doc__)
    parser.add_argument("--facts", type=int, default=10_000_000)
    parser.add_argument("--replayed", type=int, default=300_000, help="records that verify counts again")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    out.print(load())
    with tempfile.TemporaryDirectory(prefix="ddor-bench-") as scratch:
        directory = Path(scratch)
        with (
            started(choose_kafka(directory / "kafka", source="native", real_only=True)) as kafka,
            started(choose_postgres(directory / "postgres", source="native")) as database,
        ):
            kafka_log.make_topics(kafka)
            settings = Settings(
                kafka_bootstrap=kafka.bootstrap,
                agencies_file=write_agencies(directory / "agencies.toml"),
                first_week=FIRST.first,
                worker="bench",
            )
            closes = settings.model_copy(update={"postgres_dsn": SecretStr(ensure_database(database.dsn, "closes"))})
            replays = settings.model_copy(
                update={
                    "postgres_dsn": SecretStr(ensure_database(database.dsn, "replays")),
                    "first_week": REPLAYED.first,
                }
            )
            rows = [*asyncio.run(_closes(closes, arguments.facts)), *asyncio.run(_replays(replays, arguments.replayed))]
            readers = settings.model_copy(update={"postgres_dsn": SecretStr(ensure_database(database.dsn, "readers"))})
            shown = asyncio.run(pages.measure(readers))
    closes_shown = table(
        "What", "Seconds", title=f"{arguments.facts:,} facts, {WEEKS} weeks, {JURISDICTIONS} jurisdictions"
    )
    for what, seconds in rows:
        closes_shown.add_row(what, seconds)
    out.print(closes_shown)
    pages_shown = table("What readers get", "Milliseconds", title="Median, over PostgreSQL, without the network")
    for what, milliseconds in shown:
        pages_shown.add_row(what, milliseconds)
    out.print(pages_shown)


async def _closes(settings: Settings, facts: int) -> list[tuple[str, str]]:
    connection = await postgres.connect(settings, "ddor-publisher")
    try:
        await migrations.apply(connection)
        began = perf_counter()
        await _fill(connection, facts)
        out.print(f"filled in {perf_counter() - began:.0f} s")
        store = Store(connection, settings.calendar, settings.hold)
        relay = Relay(client(settings), connection)
        weeks = [_week(number) for number in range(WEEKS - CLOSED_FOR_REAL, WEEKS)]
        await relay.start(weeks[0].begins_at)
        took: list[float] = []
        try:
            for number, week in enumerate(weeks):
                if number == 1:
                    await _copy_reports(connection, weeks[0])
                checked = PROVISIONAL if number < PROVISIONAL + MEASURED else 0
                if number >= PROVISIONAL:
                    await connection.execute(_PROVEN, week.first)
                took.append(await _close(store, relay, settings, week, checked))
        finally:
            await relay.stop()
        with_all, without_check = took[PROVISIONAL:-MEASURED], took[-MEASURED:]
        one = await _timed(connection, SQL["report"], weeks[-1].first, None)
        await connection.execute(_PROVEN, weeks[-1].first)
        scans = [name for name in _READS if await _scans(connection, name, weeks[-1].first)]
        return [
            ("a close, barrier reached to report on Kafka, median", f"{median(with_all):.2f}"),
            ("the slowest of them", f"{max(with_all):.2f}"),
            (
                f"restatement check of {PROVISIONAL} weeks, within it",
                f"{median(with_all) - median(without_check):.2f}",
            ),
            (
                "proof that the records since the last report are accounted for, within it",
                f"{await _timed(connection, SQL['unaccounted_since']):.3f}",
            ),
            (
                "proof that counters equal the ledger, within it",
                f"{await _timed(connection, SQL['unequal'], weeks[-1].first):.3f}",
            ),
            ("one report", f"{one:.3f}"),
            (
                "an audit, which proves all records and all weeks",
                f"{await _timed(connection, SQL['unaccounted']) + await _timed(connection, SQL['unequal_weeks']):.2f}",
            ),
            ("queries that read the whole ledger", ", ".join(scans) or "none"),
        ]
    finally:
        await connection.close()


_READS = ("unequal", "unaccounted_since", "agencies_heard", "withdrawn", "forms", "declines", "unissued", "conflicts")


async def _scans(connection: asyncpg.Connection[Any], name: str, week: date) -> bool:
    """Whether a query's plan reads every row of the ledger, or every entry of its key that is of one kind."""
    sql = SQL[name]
    rows = await connection.fetch(f"EXPLAIN {sql}", *([week] if "$1" in sql else []))
    whole = ("Seq Scan on ledger_entry", "Bitmap Index Scan on ledger_entry_pkey")
    return any(scan in row[0] for row in rows for scan in whole)


async def _timed(connection: asyncpg.Connection[Any], sql: str, *arguments: object) -> float:
    took = []
    for _ in range(3):
        began = perf_counter()
        await connection.fetch(sql, *arguments)
        took.append(perf_counter() - began)
    return median(took)


def _week(number: int) -> ReportingWeek:
    return CALENDAR.week(FIRST.first + timedelta(days=7 * number))


async def _fill(connection: asyncpg.Connection[Any], facts: int) -> None:
    codes = [entry.code for entry in registry() if len(entry.code) == 5][:JURISDICTIONS]
    await connection.execute("INSERT INTO agency (name) VALUES ($1)", LAS_VEGAS)
    step = 500_000
    for start in range(0, facts, step):
        end = min(facts, start + step) - 1
        await connection.execute(_FILL, start, end, FIRST.first, WEEKS, facts, codes, JURISDICTIONS)
    await connection.execute(_DETAILS)
    await connection.execute(_ACCOUNTS)
    for topic in EVENT_TOPICS:
        await connection.executemany(
            "INSERT INTO partition_position (topic, partition) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [(topic.name, number) for number in range(topic.partitions)],
        )
    await connection.execute("VACUUM ANALYZE")


async def _copy_reports(connection: asyncpg.Connection[Any], first_real: ReportingWeek) -> None:
    """A report for each earlier week, as large as the first real one."""
    figures = await connection.fetchval("SELECT figures FROM report")
    await connection.execute("UPDATE report SET sequence = $1", WEEKS)
    former = WEEKS - CLOSED_FOR_REAL
    await connection.execute(
        "INSERT INTO week_close (week, state, barrier)"
        " SELECT $1::date + 7 * n, 'final', '{}' FROM generate_series(0, $2 - 1) AS n",
        FIRST.first,
        former,
    )
    await connection.execute(_REPORTS, FIRST.first, figures, FIRST.ends_at, former)
    assert first_real.first == _week(former).first


async def _close(store: Store, relay: Relay, settings: Settings, week: ReportingWeek, checked: int) -> float:
    """Seconds from the barrier to the report on the topic, with `checked` earlier weeks checked for restatement."""
    now = week.ends_at + settings.grace
    since = now - timedelta(weeks=checked)
    vector = (await store.positions()).vector
    await store.set_barrier(week.first, State.OPEN, vector, now)
    used = report_inputs(settings)
    began = perf_counter()
    written = await store.publish(week, Close(State.DRAINING, vector, released=True), used, now, since)
    await relay.run(now)
    took = perf_counter() - began
    assert len(written) == 1, "there are no late events"
    await store.finalise(now, since)
    return took


async def _replays(settings: Settings, records: int) -> list[tuple[str, str]]:
    connection = await postgres.connect(settings, "ddor-bench")
    try:
        await migrations.apply(connection)
        await corpus.produce({"bootstrap_servers": settings.kafka_bootstrap}, corpus.events(records, seed=1))
        async with running(aggregator.create(settings)):
            await kafka_log.counted(connection, settings.kafka_bootstrap, 300)
        async with publishing(settings, _after(REPLAYED)) as publisher:
            await publisher.steps()
            await publisher.store.release(REPLAYED.first, "bench", "bench", publisher.clock.now)
            publisher.clock.now += timedelta(minutes=1)
            await publisher.steps()
        relay = Relay(client(settings), connection)
        await relay.start(_after(REPLAYED))
        await relay.run(_after(REPLAYED))
        await relay.stop()
    finally:
        await connection.close()
    began = perf_counter()
    done = await commands.ddor(settings, "verify", f"{REPLAYED}@1")
    took = perf_counter() - began
    assert "✓ replay" in done.output, done.output
    return [(f"ddor verify, a log of {records:,} records ({records / took:,.0f} a second)", f"{took:.1f}")]


def _after(week: ReportingWeek) -> datetime:
    return week.ends_at + timedelta(hours=24)


if __name__ == "__main__":
    main()
