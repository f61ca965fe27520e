"""The three services as processes, on a Kafka and a database of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from deploy.local.named import NamedKafka, NamedPostgres
from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from tests.support.positions import Connection


@contextmanager
def stack(directory: Path, kafka: KafkaPart, database: str, first_week: str) -> Iterator[Stack]:
    """A stack that is up. What it runs on belongs to the fixtures and is not ended with it."""
    built = Stack(
        directory,
        NamedKafka(kafka.bootstrap),
        NamedPostgres(database),
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
    """A connection to read the result with, through the schema's own tables and views."""
    connection = await asyncpg.connect(database, server_settings={"search_path": "ddor"})
    try:
        yield connection
    finally:
        await connection.close()
