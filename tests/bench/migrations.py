"""Duration of each migration on a large archive: `python -m tests.bench.migrations [--reports N] [--facts N]`.

Starts a PostgreSQL of its own, loads the recorded data of schema 7, adds reports and facts, and migrates.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from deploy.local import parts
from services.cli.migrate import estimated_rows, plan_lines
from services.runtime import migration_locks, migrations
from tests.former import stored
from tests.support.local_parts import new_database, started
from tests.support.schema_versions import at_version

_FROM = 7
_REPORTS = """
INSERT INTO report (week, revision, cause, digest, figures_digest, figures, published_at, sequence)
SELECT '1900-01-06'::date + 7 * n, 1, 'initial', md5(n::text), md5(n::text), jsonb_set(figures, '{jurisdictions}', (
    SELECT jsonb_agg(figures -> 'jurisdictions' -> 0 || jsonb_build_object(
        'geoid', to_char(g, 'FM00000'), 'issued', g % 50 + n % 3, 'declined', g % 7))
    FROM generate_series(1, $2::int) AS g
)), now(), 1000 + n
FROM report, generate_series(1, $1::int) AS n WHERE sequence = 1
"""
_MESSAGES = """
INSERT INTO outbox (topic, key, value, headers, timestamp_ms, created_at, sent_at, sent_offset)
SELECT topic, key, value, headers, timestamp_ms, created_at, sent_at, 1000 + n
FROM (SELECT DISTINCT ON (topic) * FROM outbox) AS one, generate_series(1, $1::int) AS n
"""
_FACTS = """
INSERT INTO ledger_entry SELECT gen_random_uuid(), sha256(n::text::bytea), 1, n, kind, week, agency, partition, false,
    jurisdiction, form
FROM (SELECT * FROM ledger_entry LIMIT 1) AS one, generate_series(1, $1::int) AS n
"""


async def _measure(dsn: str, reports: int, jurisdictions: int, facts: int) -> None:
    async with at_version(dsn, _FROM) as connection:
        await stored.load_tables(connection, stored.tables_file(_FROM).read_bytes())
        await connection.execute(_REPORTS, reports, jurisdictions)
        await connection.execute(_MESSAGES, reports)
        await connection.execute(_FACTS, facts)
        await connection.execute("ANALYZE")
        size = await connection.fetchval("SELECT pg_size_pretty(pg_total_relation_size('report'))")
        sys.stdout.write(f"{reports:,} reports with {jurisdictions:,} jurisdictions each: {size}\n")
        rows = await estimated_rows(connection)
        for migration in await migrations.pending(connection):
            for line in plan_lines(migration.stem, migration_locks.declared()[migration.stem], rows):
                sys.stdout.write(f"{line}\n")
            began = time.perf_counter()
            await migrations._apply_one(connection, migration, migrations.PATIENCE.lock_ms)
            sys.stdout.write(f"  took {time.perf_counter() - began:.2f} s\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.migrations", description="Duration of migrations.")
    parser.add_argument("--reports", type=int, default=520)
    parser.add_argument("--jurisdictions", type=int, default=300)
    parser.add_argument("--facts", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="ddor-migrations-") as scratch,
        started(parts.choose_postgres(Path(scratch, "postgres"))) as postgres,
        new_database(postgres) as dsn,
    ):
        asyncio.run(_measure(dsn, chosen.reports, chosen.jurisdictions, chosen.facts))


if __name__ == "__main__":
    main()
