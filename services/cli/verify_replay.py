"""Counts the log again up to a vector, with the aggregator's SQL, in a scratch schema that is dropped at the end."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from schemas.log import Partition, RecordAddress, Vector
from schemas.week import ReportingCalendar, WeekIndex
from services.aggregator import decoding
from services.aggregator.decoding import Batch
from services.aggregator.spans import Span
from services.aggregator.store import Store
from services.cli.queries import SQL
from services.runtime import kafka, log_range, migrations, postgres
from services.runtime.errors import CallerError
from services.runtime.kafka import topic_partition
from services.runtime.kafka_access import check_on
from services.runtime.kafka_rights import READ_EVENTS
from services.runtime.settings import Settings

_WORKER = "verify"
MARK = "made by ddor verify, which drops it"
"""The comment on each scratch schema."""
_RECORDS = 5_000


class LogTooShortError(CallerError):
    """The log no longer contains all records that the report was made from."""


class FailedBeforeError(Exception):
    """The aggregator failed on this record when it counted it."""


@asynccontextmanager
async def scratch(settings: Settings) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection to an empty schema with the same tables. First drops the schemas of verifications that were killed.

    The session locks the name of its schema until it ends, so an unlocked schema with MARK belongs to no running
    verification. An error of the caller is raised unchanged, even if dropping the schema fails as well.
    """
    connection = await postgres.connect(settings, "ddor-verify")
    schema = f"ddor_verify_{secrets.token_hex(8)}"
    try:
        await connection.execute(SQL["lock_scratch"], schema)
        await _drop_left(connection)
        async with connection.transaction():  # a schema without its mark would never be dropped
            await connection.execute(f"CREATE SCHEMA {schema}")
            await connection.execute(f"COMMENT ON SCHEMA {schema} IS '{MARK}'")
        await migrations.apply(connection, schema)
        yield connection
    except BaseException:
        with suppress(Exception):  # the first error matters more; the next verification drops the schema
            await _end(connection, schema)
        raise
    await _end(connection, schema)


async def _drop_left(connection: asyncpg.Connection[Any]) -> None:
    """Drop the schemas that have MARK and whose session has ended. The name alone does not prove their origin."""
    for row in await connection.fetch(SQL["scratch_schemas"], MARK):
        if await connection.fetchval(SQL["try_scratch"], row["name"]):
            await connection.execute(row["drop"])
            await connection.execute(SQL["unlock_scratch"], row["name"])


async def _end(connection: asyncpg.Connection[Any], schema: str) -> None:
    try:
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    finally:
        await connection.close()


async def note_right(settings: Settings, week: date) -> None:
    """Record that the week was verified by a person, which ends the alert of a failed verification by the publisher."""
    connection = await postgres.connect(settings, "ddor-verify")
    try:
        await connection.execute(SQL["verified"], week)
    finally:
        await connection.close()


async def failed(connection: asyncpg.Connection[Any]) -> set[RecordAddress]:
    """The records that were rejected because of an internal error."""
    rows = await connection.fetch(SQL["failed"], decoding.INTERNAL_ERROR)
    return {RecordAddress(Partition(row["topic"], row["partition"]), row["kafka_offset"]) for row in rows}


async def replay(
    connection: asyncpg.Connection[Any],
    client: Mapping[str, Any],
    vector: Vector,
    calendar: ReportingCalendar,
    failed: Collection[RecordAddress],
    *,
    stages: Sequence[Vector],
    counted: Callable[[int], None],
) -> None:
    """Count all records below the vector. Calls `counted` with the number of offsets of each step.

    `failed` are records that were rejected because of an internal error. A replay cannot reproduce the error, so it
    rejects them again. `stages` are earlier vectors. The replay reads up to each of them in turn, so that of two copies
    of a fact in two partitions, the one that an earlier report counted is read first, as it was then.
    Raises LogTooShortError.
    """
    store = Store(connection, _WORKER)
    await store.prepare(bounded=False)  # no one waits for locks in this schema, so time limits are not needed
    topics, numbers = [one.topic for one in vector], [one.number for one in vector]
    await connection.execute(SQL["own_all"], _WORKER, topics, numbers)
    weeks = WeekIndex(calendar)
    consumer = AIOKafkaConsumer(
        **client, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="none"
    )
    try:
        await kafka.start(consumer.start)
        await check_on(consumer._client, READ_EVENTS)
        async for spans in _spans(consumer, {one: end for one, end in vector.items() if end}, stages):
            for batch in _batches(spans, weeks, failed):
                await store.write(batch)
                # Rejects must not halt a partition here: every record is counted.
                await connection.execute(SQL["resume_all"])
            counted(sum(span.end - span.start for span in spans))
    finally:
        await kafka.stop(consumer)


def _batches(spans: Iterable[Span], weeks: WeekIndex, failed: Collection[RecordAddress]) -> Iterator[Batch]:
    """One batch. If records have failed, one batch for each of them and one for the records before it."""
    rest = []
    for span in spans:
        for record in [one for one in span.records if RecordAddress(span.partition, one.offset) in failed]:
            at = record.offset
            before = [one for one in span.records if one.offset < at]
            if at > span.start:
                yield decoding.decode([span._replace(end=at, records=before)], weeks)
            yield decoding.internal_error(span._replace(start=at, end=at + 1, records=[record]), FailedBeforeError())
            span = span._replace(start=at + 1, records=span.records[len(before) + 1 :])  # noqa: PLW2901  # the rest of it
        rest.append(span)
    yield decoding.decode([span for span in rest if span.start < span.end], weeks)


async def _spans(
    consumer: AIOKafkaConsumer, ends: Mapping[Partition, int], stages: Sequence[Vector]
) -> AsyncIterator[list[Span]]:
    """The records of each partition from its beginning to its end, in spans without gaps."""
    await _check(consumer, ends)
    consumer.assign([topic_partition(one) for one in ends])
    for partition in ends:
        consumer.seek(topic_partition(partition), 0)  # a partition without a position raises an error, even if paused
        consumer.pause(topic_partition(partition))
    at = dict.fromkeys(ends, 0)
    earlier = [{one: min(end, stage.offset_of(one)) for one, end in ends.items()} for stage in stages]
    for until in (*earlier, ends):
        async for spans in _stage(consumer, at, until):
            yield spans
            at |= {span.partition: span.end for span in spans}


async def _stage(
    consumer: AIOKafkaConsumer, begins: Mapping[Partition, int], ends: Mapping[Partition, int]
) -> AsyncIterator[list[Span]]:
    begin, end = (
        {topic_partition(one): at for one, at in begins.items()},
        {topic_partition(one): at for one, at in ends.items()},
    )
    async for parts in log_range.read(consumer, begin, end, _RECORDS):
        yield [Span(Partition(*part.partition), 1, part.start, part.end, part.records) for part in parts]


async def _check(consumer: AIOKafkaConsumer, ends: Mapping[Partition, int]) -> None:
    asked = [topic_partition(one) for one in ends]
    first, last = await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)
    for partition, end in ends.items():
        tp = topic_partition(partition)
        if first[tp] > 0 or last[tp] < end:
            raise LogTooShortError(f"{partition}: the log has [{first[tp]}, {last[tp]}), the report needs [0, {end})")
