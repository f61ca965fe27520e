"""Record what earlier releases write: `python -m tests.former.record [SCHEMA]...`.

Runs the services of each release in `releases.SCHEMAS` on a Kafka and a PostgreSQL of its own, and writes `data/`. With
`--install` it only installs the packages of the releases, in `releases.PACKAGES`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deploy.local import parts
from deploy.local.external import ExternalKafka, ExternalPostgres
from deploy.local.parts import KafkaPart, PostgresPart
from deploy.local.stack import Stack
from schemas.topics import TOPICS
from services.runtime import migrations
from tests.former import life, releases, stored
from tests.former.releases import SCHEMAS, Release
from tests.support import kafka_log
from tests.support.local_parts import new_database, started
from tests.support.stacks import looking

_POLICIES_SINCE = 7


def release(schema: int, directory: Path) -> Release:
    """The code of the release, with exactly the packages that it pins."""
    code = releases.source(SCHEMAS[schema], directory / "code")
    return Release(code, releases.install(code))


def record(schema: int, directory: Path, kafka: KafkaPart, postgres: PostgresPart) -> None:
    """Run the release with this schema and write its files."""
    one = release(schema, directory)
    asyncio.run(kafka_log.recreate(kafka.bootstrap, *(topic.name for topic in TOPICS)))
    with new_database(postgres) as dsn:
        stack = Stack(
            directory / "stack",
            ExternalKafka(kafka.bootstrap),
            ExternalPostgres(dsn),
            first_week="2030-01-05",
            settings={"DDOR_KAFKA_REPLICATION": "1", "DDOR_LINE_LIST": "coarse"},
            command=one.command,
        )
        try:
            stack.up()
            asyncio.run(_record(stack, dsn, schema, directory))
        finally:
            for service in stack.services.values():
                service.stop()
        tables, log = asyncio.run(_read(dsn, kafka.bootstrap))
    stored.tables_file(schema).write_bytes(tables)
    stored.log_file(schema).write_bytes(log)


async def _record(stack: Stack, dsn: str, schema: int, directory: Path) -> None:
    async with looking(dsn) as connection:
        found = [row["sha256"] for row in await connection.fetch("SELECT sha256 FROM migration ORDER BY number")]
        if found != [one.sha256 for one in migrations.migrations()[:schema]]:
            raise RuntimeError(f"commit {SCHEMAS[schema]} does not have the first {schema} migrations of this program")
        await life.live(stack, connection, directory, policies=schema >= _POLICIES_SINCE)


async def _read(dsn: str, bootstrap: str) -> tuple[bytes, bytes]:
    async with looking(dsn) as connection:
        return await stored.tables(connection), await stored.log(bootstrap)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.former.record", description=__doc__)
    parser.add_argument("schema", type=int, nargs="*", choices=[*SCHEMAS, []], metavar="SCHEMA")
    parser.add_argument("--install", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ddor-former-") as scratch, ExitStack() as servers:
        directories = {schema: Path(scratch, str(schema)) for schema in chosen.schema or SCHEMAS}
        if chosen.install:
            for schema, directory in directories.items():
                release(schema, directory)
            return
        kafka = servers.enter_context(started(parts.choose_kafka(Path(scratch, "kafka"), real_only=True)))
        postgres = servers.enter_context(started(parts.choose_postgres(Path(scratch, "postgres"))))
        for schema, directory in directories.items():
            record(schema, directory, kafka, postgres)
            sys.stdout.write(f"schema {schema}: commit {SCHEMAS[schema]}\n")


if __name__ == "__main__":
    main()
