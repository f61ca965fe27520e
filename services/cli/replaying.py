"""Counting the log again up to a vector, through the same SQL, into a scratch schema that is dropped at the end."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from deploy import migrations
from schemas.week import ReportingCalendar, WeekIndex
from services.aggregator import tally
from services.aggregator.leases import Partition
from services.aggregator.log import theirs
from services.aggregator.spans import Span
from services.aggregator.store import Store
from services.aggregator.tally import Batch
from services.cli.places import Place
from services.cli.resuming import SQL
from services.publisher.closing import Offsets
from services.runtime import kafka, postgres
from services.runtime.errors import CallerError
from services.runtime.settings import Settings

_WORKER = "verify"
_RECORDS = 5_000


class LogTooShortError(CallerError):
    """The log no longer holds what the report was made from."""


class FailedBeforeError(Exception):
    """The aggregator failed on this record when it counted it."""


@asynccontextmanager
async def scratch(settings: Settings) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection to an empty schema of the same tables; what killed verifications have left is dropped before.

    The session locks its schema's name for as long as it lives, so a name that nobody has locked is a dead one's. An
    error of the caller's is raised as it is, also if the schema could not be dropped after it.
    """
    connection = await postgres.connect(settings, "ddor-verify")
    schema = f"ddor_verify_{secrets.token_hex(8)}"
    try:
        await connection.execute(SQL["lock_scratch"], schema)
        for row in await connection.fetch(SQL["scratch_schemas"]):
            if await connection.fetchval(SQL["try_scratch"], row["name"]):
                await connection.execute(f'DROP SCHEMA IF EXISTS "{row["name"]}" CASCADE')
                await connection.execute(SQL["unlock_scratch"], row["name"])
        await migrations.apply(connection, schema)
        yield connection
    except BaseException:
        with suppress(Exception):  # the first error says more; the next verification drops what stays
            await _end(connection, schema)
        raise
    await _end(connection, schema)


async def _end(connection: asyncpg.Connection[Any], schema: str) -> None:
    try:
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    finally:
        await connection.close()


async def failed(connection: asyncpg.Connection[Any]) -> set[Place]:
    """The records that were rejected because the aggregator failed on them."""
    rows = await connection.fetch(SQL["failed"], tally.INTERNAL_ERROR)
    return {Place(Partition(row["topic"], row["partition"]), row["kafka_offset"]) for row in rows}


async def replay(
    connection: asyncpg.Connection[Any],
    client: Mapping[str, Any],
    vector: Offsets,
    calendar: ReportingCalendar,
    failed: Collection[Place],
    *,
    stages: Sequence[Offsets],
    counted: Callable[[int], None],
) -> None:
    """Count every record below the vector; `counted` is told how many offsets further it is. LogTooShortError.

    `failed` were rejected because the aggregator failed on them, as no replay can find out: they are rejected again.
    `stages` are earlier vectors, each read to its end first: of two copies of a fact in two partitions the one that a
    report knew is met before one that came later, as it was.
    """
    store = Store(connection, _WORKER)
    await store.prepare(bounded=False)  # nobody waits for the locks of this schema, and a stall must not end it all
    ends = {Partition(topic, int(number)): end for topic, numbers in vector.items() for number, end in numbers.items()}
    topics, numbers = [one.topic for one in ends], [one.number for one in ends]
    await connection.execute(SQL["own_all"], _WORKER, topics, numbers)
    weeks = WeekIndex(calendar)
    consumer = AIOKafkaConsumer(
        **client, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="none"
    )
    try:
        await kafka.start(consumer.start)
        async for spans in _spans(consumer, {one: end for one, end in ends.items() if end}, stages):
            for batch in _batches(spans, weeks, failed):
                await store.write(batch)
                # The breaker did its work when the log was first read; here every record is counted.
                await connection.execute(SQL["resume_all"])
            counted(sum(span.end - span.start for span in spans))
    finally:
        await kafka.stop(consumer)


def _batches(spans: Iterable[Span], weeks: WeekIndex, failed: Collection[Place]) -> Iterator[Batch]:
    """One batch; where records have failed, one for each of them and for what is before it."""
    rest = []
    for span in spans:
        for record in [one for one in span.records if Place(span.partition, one.offset) in failed]:
            at = record.offset
            before = [one for one in span.records if one.offset < at]
            if at > span.start:
                yield tally.batch([span._replace(end=at, records=before)], weeks)
            yield tally.internal_error(span._replace(start=at, end=at + 1, records=[record]), FailedBeforeError())
            span = span._replace(start=at + 1, records=span.records[len(before) + 1 :])  # noqa: PLW2901  # its rest
        rest.append(span)
    yield tally.batch([span for span in rest if span.start < span.end], weeks)


async def _spans(
    consumer: AIOKafkaConsumer, ends: Mapping[Partition, int], stages: Sequence[Offsets]
) -> AsyncIterator[list[Span]]:
    """The records of each partition from its beginning to its end, in spans that leave no gap."""
    await _check(consumer, ends)
    consumer.assign([theirs(one) for one in ends])
    for partition in ends:
        consumer.seek(theirs(partition), 0)  # one without a position would end all, also while it is paused
        consumer.pause(theirs(partition))
    at = dict.fromkeys(ends, 0)
    earlier = [
        {one: min(end, stage.get(one.topic, {}).get(str(one.number), 0)) for one, end in ends.items()}
        for stage in stages
    ]
    for until in (*earlier, ends):
        async for spans in _stage(consumer, at, until):
            yield spans
            at |= {span.partition: span.end for span in spans}


async def _stage(
    consumer: AIOKafkaConsumer, begins: Mapping[Partition, int], ends: Mapping[Partition, int]
) -> AsyncIterator[list[Span]]:
    at = {one: start for one, start in begins.items() if start < ends[one]}
    for partition, start in at.items():
        consumer.seek(theirs(partition), start)
        consumer.resume(theirs(partition))
    while at:
        found = await consumer.getmany(timeout_ms=250, max_records=_RECORDS)
        spans = []
        for partition, start in list(at.items()):
            end, tp = ends[partition], theirs(partition)
            reached = min(end, await consumer.position(tp))
            if reached > start:
                records = [record for record in found.get(tp, ()) if record.offset < end]
                spans.append(Span(partition, 1, start, reached, records))
                at[partition] = reached
            if reached == end:
                consumer.pause(tp)
                del at[partition]
        if spans:
            yield spans


async def _check(consumer: AIOKafkaConsumer, ends: Mapping[Partition, int]) -> None:
    asked = [theirs(one) for one in ends]
    first, last = await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)
    for partition, end in ends.items():
        tp = theirs(partition)
        if first[tp] > 0 or last[tp] < end:
            raise LogTooShortError(f"{partition}: the log holds [{first[tp]}, {last[tp]}), the report needs [0, {end})")
