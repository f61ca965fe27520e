"""An aggregator that counts when the test says so, by the aggregator's own reduction and SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import cache

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import EVENT_TOPICS
from schemas.week import WeekIndex
from services.aggregator import tally
from services.aggregator.leases import Partition
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
    """Counts to the log's end, as far as it is told to."""

    def __init__(self, connection: Connection, consumer: AIOKafkaConsumer) -> None:
        self._connection = connection
        self._consumer = consumer
        self._store = Store(connection, _OWNER)

    async def start(self) -> None:
        """Take all partitions."""
        await self._store.prepare()
        await self._connection.executemany(
            "INSERT INTO partition_position (topic, partition, owner, epoch) VALUES ($1, $2, $3, 1)"
            " ON CONFLICT (topic, partition) DO UPDATE SET owner = EXCLUDED.owner, epoch = 1",
            [(tp.topic, tp.partition, _OWNER) for tp in _PARTITIONS],
        )

    async def count(self, leave: Collection[Partition] = ()) -> None:
        """Count every record that is on the log now, but for the partitions to leave and those that are halted."""
        ends = await self._consumer.end_offsets(_PARTITIONS)
        rows = await self._connection.fetch("SELECT * FROM partition_position WHERE halted_reason IS NULL")
        at = {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        behind = {
            one: (start, end)
            for one, start in at.items()
            if one not in leave and (end := ends[TopicPartition(one.topic, one.number)]) > start
        }
        if behind:
            await self._store.write(tally.batch([await self._span(one, *to) for one, to in behind.items()], _weeks()))

    async def fail(self, topic: str, number: int, offset: int) -> None:
        """Reject the record at a partition's position, as one that the aggregator failed on."""
        span = await self._span(Partition(topic, number), offset, offset + 1)
        await self._store.write(tally.internal_error(span, RuntimeError()))

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
    """One that has taken all partitions."""
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
