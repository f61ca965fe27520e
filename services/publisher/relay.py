"""The outbox on its way to Kafka: bytes, key, headers and timestamp as stored, in order, in Kafka transactions.

What was sent and not marked, because the process died in between, is found on the topic at the next start. A relay that
was stopped and is continued after another has taken over is fenced by the transactional id: nothing of it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.topics import REPORT_LATEST
from services.publisher.snapshot import SQL
from services.runtime import kafka, metrics
from services.runtime.logs import get

log = get(__name__)

TRANSACTIONAL_ID = "ddor-relay"
_TAIL = 2_000
"""More offsets than one transaction takes: what is not marked was sent in the last one that was committed."""
_SECONDS = 30
_AT_ONCE = 20
_STOP_SECONDS = 5


class Relay:
    """Sends what is in the outbox. One at a time: the process that leads."""

    def __init__(self, client: Mapping[str, Any], connection: asyncpg.Connection[Any]) -> None:
        self._client = client
        self._connection = connection
        self._producer = AIOKafkaProducer(
            **client, acks="all", transactional_id=TRANSACTIONAL_ID, max_request_size=2_097_152
        )

    async def start(self, now: datetime) -> None:
        """Connect, fence any earlier relay, then mark what it sent and did not mark."""
        async with asyncio.timeout(_SECONDS):
            await kafka.start(self._producer.start)
            # The client takes its epoch in the background. Until it has one, the earlier relay is not fenced, and its
            # open transaction not aborted: the tail must not be read before.
            await self._producer.begin_transaction()
            await self._producer.commit_transaction()
        unmarked = await self._connection.fetch(SQL["unmarked"])
        # A report goes to both topics in one transaction: on the one means on the other, which is compacted.
        topics = sorted({row["topic"] for row in unmarked} - {REPORT_LATEST})
        there = {event_id: offset for topic in topics for event_id, offset in (await self._tail(topic)).items()}
        found = [(row["id"], row["topic"], there[row["event_id"]]) for row in unmarked if row["event_id"] in there]
        if found:
            await self._mark([(row, None if topic == REPORT_LATEST else at) for row, topic, at in found], now)
            log.info("found-on-topic", messages=len(found))

    async def stop(self) -> None:
        """Close the connection; given up when Kafka stays away, for what was not sent is in the outbox."""
        await kafka.stop_producer(self._producer, _STOP_SECONDS)

    async def run(self, now: datetime) -> int:
        """Send what is unsent, oldest first, and mark it; answers how many."""
        await show_age(self._connection, now)
        rows = await self._connection.fetch(SQL["unsent"])
        if rows:
            offsets = await self.send(rows)
            await self._mark([(row["id"], at) for row, at in zip(rows, offsets, strict=True)], now)
            await show_age(self._connection, now)
            log.info("sent", messages=len(rows))
        return len(rows)

    async def send(self, rows: Sequence[asyncpg.Record]) -> list[int]:
        """Write rows in one Kafka transaction, of which readers that read committed see all or nothing; the offsets.

        What fails is not aborted here, where that could wait for Kafka without end: the session ends, and the start of
        the next relay aborts it.
        """
        async with asyncio.timeout(_SECONDS):
            await self._producer.begin_transaction()
            sent = [
                await self._producer.send(
                    row["topic"],
                    row["value"],
                    row["key"],
                    partition=0,
                    timestamp_ms=row["timestamp_ms"],
                    headers=[(name, value.encode()) for name, value in row["headers"].items()],
                )
                for row in rows
            ]
            # Asked for before the commit: a record that the broker refuses does not by itself end the transaction.
            await asyncio.wait(sent)
            answers = [one.result() for one in sent]
            await self._producer.commit_transaction()
        return [answer.offset for answer in answers]

    async def _mark(self, sent: Sequence[tuple[int, int | None]], now: datetime) -> None:
        await self._connection.execute(SQL["mark_sent"], [row for row, _ in sent], [offset for _, offset in sent], now)

    async def _tail(self, topic: str) -> dict[str, int]:
        """The ids of the last messages on a topic, and where they are."""
        consumer = AIOKafkaConsumer(**self._client, isolation_level="read_committed", enable_auto_commit=False)
        try:
            await kafka.start(consumer.start)
            return {
                dict(record.headers).get("id", b"").decode(): record.offset
                async for record in read_all(consumer, topic, _TAIL)
            }
        finally:
            await kafka.stop(consumer)


async def show_age(connection: asyncpg.Connection[Any], now: datetime) -> None:
    """Set the metric of the oldest message that is not on Kafka yet: also, and most of all, while Kafka is away."""
    oldest = await connection.fetchval(SQL["outbox_oldest"])
    metrics.OUTBOX_AGE.set(max(0.0, (now - oldest).total_seconds()) if oldest else 0)


async def read_all(consumer: AIOKafkaConsumer, topic: str, last: int | None = None) -> AsyncIterator[Any]:
    """The committed records of partition 0 of a topic, at most from `last` offsets before its end."""
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end = (await consumer.end_offsets([partition]))[partition]
    start = (await consumer.beginning_offsets([partition]))[partition]
    consumer.seek(partition, start if last is None else max(start, end - last))
    while True:
        async with asyncio.timeout(_SECONDS):
            if await consumer.position(partition) >= end:
                return
            found = await consumer.getmany(partition, timeout_ms=500, max_records=_AT_ONCE)
        for record in found.get(partition, ()):
            yield record
