"""An aggregator that counts on request, with the aggregator's own decoding and SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import cache

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.log import Partition
from schemas.topics import EVENT_TOPICS
from schemas.week import WeekIndex
from services.aggregator import decoding
from services.aggregator.spans import Span
from services.aggregator.store import Store
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.support.batches import CALENDAR
from tests.support.positions import Connection

_OWNER = "by-hand"
_PARTITIONS = [TopicPartition(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions)]


@cache
def _weeks() -> WeekIndex:
    return WeekIndex(CALENDAR)


class Counting:
    """Counts to the end of the log on request."""

    def __init__(self, connection: Connection, consumer: AIOKafkaConsumer) -> None:
        self._connection = connection
        self._consumer = consumer
        self._store = Store(connection, _OWNER)

    async def start(self) -> None:
        """Acquire all partitions."""
        await self._store.prepare()
        await self._connection.executemany(
            "INSERT INTO partition_position (topic, partition, owner, epoch) VALUES ($1, $2, $3, 1)"
            " ON CONFLICT (topic, partition) DO UPDATE SET owner = EXCLUDED.owner, epoch = 1",
            [(tp.topic, tp.partition, _OWNER) for tp in _PARTITIONS],
        )

    async def count(self, leave: Collection[Partition] = ()) -> None:
        """Count every record now in the log, except those of the partitions to leave and of halted partitions."""
        ends = await self._consumer.end_offsets(_PARTITIONS)
        rows = await self._connection.fetch("SELECT * FROM partition_position WHERE halted_reason IS NULL")
        at = {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        unread = {
            one: (start, end)
            for one, start in at.items()
            if one not in leave and (end := ends[TopicPartition(one.topic, one.number)]) > start
        }
        if unread:
            await self._store.write(
                decoding.decode([await self._span(one, *to) for one, to in unread.items()], _weeks())
            )

    async def fail(self, topic: str, number: int, offset: int) -> None:
        """Reject the record at a partition's position as an internal error."""
        span = await self._span(Partition(topic, number), offset, offset + 1)
        await self._store.write(decoding.internal_error(span, RuntimeError()))

    async def _span(self, one: Partition, start: int, end: int) -> Span:
        tp = TopicPartition(one.topic, one.number)
        self._consumer.assign([tp])
        self._consumer.seek(tp, start)
        records = []
        while await self._consumer.position(tp) < end:
            records += (await self._consumer.getmany(tp, timeout_ms=500)).get(tp, [])
        return Span(one, 1, start, end, [record for record in records if record.offset < end])


@asynccontextmanager
async def counting(settings: Settings) -> AsyncIterator[Counting]:
    """A `Counting` with all partitions."""
    connection = await postgres.connect(settings, "ddor-test-counting")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        counter = Counting(connection, consumer)
        await counter.start()
        yield counter
    finally:
        await consumer.stop()
        await connection.close()
