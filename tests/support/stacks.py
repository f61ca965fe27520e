"""The three services as processes, on the test's own Kafka and database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from deploy.local.external import ExternalKafka, ExternalPostgres
from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from tests.support.positions import Connection


@contextmanager
def stack(directory: Path, kafka: KafkaPart, database: str, first_week: str) -> Iterator[Stack]:
    """A running stack. Its Kafka and PostgreSQL belong to the fixtures and are not stopped with it."""
    built = Stack(
        directory,
        ExternalKafka(kafka.bootstrap),
        ExternalPostgres(database),
        first_week=first_week,
        settings={"DDOR_KAFKA_REPLICATION": "1"},
    )
    try:
        built.up()
        yield built
    finally:
        for service in built.services.values():
            service.stop()


@asynccontextmanager
async def looking(database: str) -> AsyncIterator[Connection]:
    """A connection to read results from tables and views."""
    connection = await asyncpg.connect(database, server_settings={"search_path": "ddor"})
    try:
        yield connection
    finally:
        await connection.close()
