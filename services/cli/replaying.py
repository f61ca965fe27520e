"""Counting the log again up to a vector, through the same SQL, into a scratch schema that is dropped at the end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy import migrations
from schemas.week import ReportingCalendar, WeekIndex
from services.aggregator import tally
from services.aggregator.leases import Partition
from services.aggregator.store import Store
from services.aggregator.tally import Span
from services.publisher.closing import Offsets
from services.runtime import postgres
from services.runtime.errors import CallerError
from services.runtime.settings import Settings

_WORKER = "verify"
_RECORDS = 5_000


class LogTooShortError(CallerError):
    """The log no longer holds what the report was made from."""


@asynccontextmanager
async def scratch(settings: Settings) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection to an empty schema of the same tables."""
    connection = await postgres.connect(settings, "ddor-verify")
    schema = f"ddor_verify_{os.getpid()}"
    try:
        await migrations.apply(connection, schema)
        yield connection
    finally:
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        await connection.close()


async def replay(
    connection: asyncpg.Connection[Any],
    client: Mapping[str, Any],
    vector: Offsets,
    calendar: ReportingCalendar,
    counted: Callable[[int], None],
) -> None:
    """Count every record below the vector; `counted` is told how many offsets further it is. LogTooShortError."""
    store = Store(connection, _WORKER)
    await store.prepare()
    weeks = WeekIndex(calendar)
    consumer = AIOKafkaConsumer(
        **client, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="none"
    )
    await consumer.start()
    try:
        for topic, ends in vector.items():
            for number, end in ends.items():
                partition = Partition(topic, int(number))
                await connection.execute(
                    "INSERT INTO partition_position (topic, partition, epoch, owner) VALUES ($1, $2, 1, $3)",
                    topic,
                    partition.number,
                    _WORKER,
                )
                async for span in _spans(consumer, partition, end):
                    await store.write(tally.batch([span], weeks))
                    # The breaker did its work when the log was first read; here every record is counted.
                    await connection.execute(
                        "UPDATE partition_position SET halted_reason = NULL WHERE topic = $1", topic
                    )
                    counted(span.end - span.start)
    finally:
        await consumer.stop()


async def _spans(consumer: AIOKafkaConsumer, partition: Partition, end: int) -> AsyncIterator[Span]:
    """The records of one partition from its beginning to `end`, in spans that leave no gap."""
    tp = TopicPartition(partition.topic, partition.number)
    first = (await consumer.beginning_offsets([tp]))[tp]
    last = (await consumer.end_offsets([tp]))[tp]
    if end and (first > 0 or last < end):
        raise LogTooShortError(f"{partition}: the log holds [{first}, {last}), the report needs [0, {end})")
    consumer.assign([tp])
    consumer.seek(tp, 0)
    at = 0
    while at < end:
        found = (await consumer.getmany(tp, timeout_ms=1_000, max_records=_RECORDS)).get(tp, [])
        records = [record for record in found if record.offset < end]
        reached = (
            min(end, await consumer.position(tp)) if not found or len(records) < len(found) else found[-1].offset + 1
        )
        if reached > at:
            yield Span(partition, 1, at, reached, records)
            at = reached
