"""The outbox on its way to Kafka: bytes, key, headers and timestamp as stored, in order.

A crash between sending and marking must not send twice, so the relay first reads what the topic already holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.topics import REPORT_READY
from services.publisher.store import SQL
from services.runtime import metrics
from services.runtime.logs import get

log = get(__name__)

_PARTITION = TopicPartition(REPORT_READY, 0)
_READ_SECONDS = 30
_SEND_SECONDS = 15
_STOP_SECONDS = 5


class Relay:
    """Sends what is in the outbox. One at a time: the process that leads."""

    def __init__(self, client: Mapping[str, Any], connection: asyncpg.Connection[Any]) -> None:
        self._client = client
        self._connection = connection
        self._producer = AIOKafkaProducer(**client, acks="all", enable_idempotence=True, max_request_size=2_097_152)

    async def start(self, now: datetime) -> None:
        """Connect, then mark what an earlier process sent and did not mark."""
        await self._producer.start()
        unsent = await self._connection.fetch(SQL["unsent"])
        if not unsent:
            return
        there = await self._already_sent()
        for row in unsent:
            offset = there.get(row["headers"]["id"])
            if offset is not None:
                await self._connection.execute(SQL["mark_sent"], row["id"], now, offset)
                log.info("found-on-topic", outbox=row["id"], offset=offset)

    async def stop(self) -> None:
        """Close the connection; given up when Kafka stays away, for what was not sent is in the outbox."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._producer.stop()
        except TimeoutError:
            # Its sender must not go on behind our back: the next relay looks on the topic for what was sent before.
            await self._producer._sender.close()
            await self._producer.client.close()

    async def run(self, now: datetime) -> int:
        """Send all that is unsent, oldest first; answers how many."""
        await self.show_age(now)
        rows = await self._connection.fetch(SQL["unsent"])
        for row in rows:
            async with asyncio.timeout(_SEND_SECONDS):
                written = await self._producer.send_and_wait(
                    row["topic"],
                    value=row["value"],
                    key=row["key"],
                    partition=0,
                    timestamp_ms=row["timestamp_ms"],
                    headers=[(name, value.encode()) for name, value in row["headers"].items()],
                )
            await self._connection.execute(SQL["mark_sent"], row["id"], now, written.offset)
            log.info("sent", topic=row["topic"], key=row["key"].decode(), offset=written.offset)
        if rows:
            await self.show_age(now)
        return len(rows)

    async def show_age(self, now: datetime) -> None:
        """Set the metric; before sending too, for sending may fail for as long as Kafka is away."""
        oldest = await self._connection.fetchval(SQL["outbox_oldest"])
        metrics.OUTBOX_AGE.set((now - oldest).total_seconds() if oldest else 0)

    async def _already_sent(self) -> dict[str, int]:
        """The offset of each message on the topic, by its id."""
        consumer = AIOKafkaConsumer(**self._client, isolation_level="read_committed", enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([_PARTITION])
            await consumer.seek_to_beginning(_PARTITION)
            end = (await consumer.end_offsets([_PARTITION]))[_PARTITION]
            found: dict[str, int] = {}
            async with asyncio.timeout(_READ_SECONDS):
                while await consumer.position(_PARTITION) < end:
                    for records in (await consumer.getmany(timeout_ms=500)).values():
                        for record in records:
                            headers = dict(record.headers)
                            found[headers.get("id", b"").decode(errors="replace")] = record.offset
            return found
        finally:
            await consumer.stop()
