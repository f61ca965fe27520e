"""Sends the outbox to Kafka: the stored bytes, key, headers and timestamp, in order, in Kafka transactions.

At start, the relay looks on the topic for messages that a relay before it sent but did not mark. The transactional id
fences a relay that was paused while another one took over: it cannot write.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError, TransactionalIdAuthorizationFailed

from schemas.topics import REPORT_LATEST, REPORT_READY
from services.publisher.committed_records import read_committed
from services.publisher.queries import SQL
from services.runtime import kafka, kafka_access, metrics
from services.runtime.kafka_rights import RELAY, SEND, TRANSACTIONAL_ID, MissingRightError
from services.runtime.logs import get

log = get(__name__)

_TAIL = 2_000
"""More offsets than one transaction uses. Unmarked messages were sent in the last committed transaction."""
_SECONDS = 30
_AT_ONCE = 500
"""As in the query `unsent`."""
_STOP_SECONDS = 5
PRUNE_EVERY = timedelta(days=1)
PRUNED_AT_ONCE = 1_000
_IDLE_SECONDS = 5.0
"""A producer that has been idle for this long is replaced before it sends. Kafka drops a transactional id after
`transactional.id.expiration.ms` without use (seven days by default), and weeks close every seven days."""

_Message = tuple[str, bytes]
"""The id of a message and the SHA-256 of its value."""


class Relay:
    """Sends the messages of the outbox. Only the leading process runs a relay."""

    def __init__(
        self,
        client: Mapping[str, Any],
        connection: asyncpg.Connection[Any],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._connection = connection
        self._pruned_at: datetime | None = None
        self._monotonic = monotonic
        self._producer = self._new_producer()
        self._used_at = monotonic()

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._client, acks="all", transactional_id=TRANSACTIONAL_ID, max_request_size=2_097_152
        )

    async def start(self, now: datetime) -> None:
        """Connect, fence earlier relays, then mark the messages that they sent without marking.

        MissingRightError if Kafka denies what the relay needs. OpenTransactionError if another client's open
        transaction hides records.
        """
        await kafka_access.check(self._client, RELAY)
        await self._take_id(self._producer)
        # A report is sent to both topics in one transaction. The tail of report-ready is enough; report-latest is
        # compacted.
        topics = [row["topic"] for row in await self._connection.fetch(SQL["unsent_topics"])]
        sent: dict[_Message, int] = {}
        for topic in topics:
            sent |= await self._tail(topic) if topic != REPORT_LATEST else {}
        unmarked = await self._connection.fetch(SQL["unmarked"], sorted({event_id for event_id, _ in sent}))
        found = [(row, at) for row in unmarked if (at := sent.get((row["event_id"], row["sha256"]))) is not None]
        if found:
            marks = [(row["id"], None if row["topic"] == REPORT_LATEST else at) for row, at in found]
            await self._mark(marks, now)
            log.info("found-on-topic", messages=len(found))

    async def _take_id(self, producer: AIOKafkaProducer) -> None:
        """Start a producer and fence every earlier one with this transactional id."""
        async with asyncio.timeout(_SECONDS):
            try:
                await kafka.start(producer.start)
            except TransactionalIdAuthorizationFailed as error:
                raise MissingRightError(SEND) from error
            # The client acquires its epoch in the background. Until then, the earlier relay is not fenced and its open
            # transaction not aborted, so the tail must not be read.
            await producer.begin_transaction()
            await producer.commit_transaction()
        self._used_at = self._monotonic()

    async def _renew(self) -> None:
        """Acquire the transactional id again, with a new producer, if the current one has been idle."""
        if self._monotonic() - self._used_at < _IDLE_SECONDS:
            return
        idle, self._producer = self._producer, self._new_producer()
        await kafka.stop_producer(idle, _STOP_SECONDS)
        await self._take_id(self._producer)
        log.debug("transactional-id-renewed")

    async def stop(self) -> None:
        """Close the connection. Gives up after a timeout: unsent messages stay in the outbox."""
        await kafka.stop_producer(self._producer, _STOP_SECONDS)

    async def run(self, now: datetime) -> int:
        """Send unsent messages, oldest first, and mark them. Returns their number."""
        if not await measure_age(self._connection, now):
            return 0
        await self._renew()
        # This query uses the connection that holds the lead, after the renewal. If it succeeds, no other relay took
        # over before the renewal. A relay that lost the lead while it was paused fails here and sends nothing.
        rows = await self._connection.fetch(SQL["unsent"])
        if len(rows) == _AT_ONCE and rows[-1]["topic"] == REPORT_READY:
            rows = rows[:-1]  # its message to the other topic must be in the same transaction
        if rows:
            offsets = await self.send(rows)
            await self._mark([(row["id"], at) for row, at in zip(rows, offsets, strict=True)], now)
            await measure_age(self._connection, now)
            log.info("sent", messages=len(rows))
        return len(rows)

    async def prune(self, now: datetime) -> int:
        """Once a day, delete old sent messages, a bounded number in each call. Returns their number."""
        if self._pruned_at is not None and abs(now - self._pruned_at) < PRUNE_EVERY:
            return 0
        done: str = await self._connection.execute(SQL["prune_outbox"], now, PRUNED_AT_ONCE)
        deleted = int(done.rpartition(" ")[2])
        metrics.PRUNED.labels("outbox").inc(deleted)
        if deleted < PRUNED_AT_ONCE:
            self._pruned_at = now
            metrics.PRUNED_AT.labels("outbox").set(now.timestamp())
        return deleted

    async def send(self, rows: Sequence[asyncpg.Record]) -> list[int]:
        """Send rows in one Kafka transaction. Returns their offsets.

        After an error the transaction is not aborted here, because that could wait for Kafka without a limit. The
        session ends, and the start of the next relay aborts the transaction.
        """
        async with asyncio.timeout(_SECONDS):
            await self._producer.begin_transaction()
            try:
                sent = [await self._add(row) for row in rows]
            except IllegalOperation as error:
                # After an error of a record, or when it is fenced, the client ends the transaction in the background.
                raise KafkaError("The transaction ended before all of its messages were sent") from error
            # Check each result before the commit: a record rejected by the broker does not end the transaction.
            await asyncio.wait(sent)
            results = [one.result() for one in sent]
            await self._producer.commit_transaction()
        self._used_at = self._monotonic()
        return [result.offset for result in results]

    async def _add(self, row: asyncpg.Record) -> asyncio.Future[Any]:
        """Add a message to the open transaction. IllegalOperation if it has ended. Returns the future result."""
        future: asyncio.Future[Any] = await self._producer.send(
            row["topic"],
            row["value"],
            row["key"],
            partition=0,
            timestamp_ms=row["timestamp_ms"],
            headers=[(name, value.encode()) for name, value in row["headers"].items()],
        )
        return future

    async def _mark(self, sent: Sequence[tuple[int, int | None]], now: datetime) -> None:
        await self._connection.execute(SQL["mark_sent"], [row for row, _ in sent], [offset for _, offset in sent], now)

    async def _tail(self, topic: str) -> dict[_Message, int]:
        """The messages of a topic from the last marked one on, with their offsets.

        A record is identified by id and value, because any client can write records with the same id.
        """
        marked = await self._connection.fetchval(SQL["last_sent"], topic)
        found = {}
        async with aclosing(read_committed(self._client, topic, start=marked or 0, last=_TAIL)) as records:
            async for record in records:
                event_id = (dict(record.headers).get("id") or b"").decode("utf-8", "replace").replace("\x00", "")
                found[event_id, hashlib.sha256(record.value or b"").digest()] = record.offset
        return found


async def measure_age(connection: asyncpg.Connection[Any], now: datetime) -> bool:
    """Set the metric for the age of the oldest unsent message, also while Kafka is unavailable.

    Returns whether there is such a message.
    """
    oldest = await connection.fetchval(SQL["outbox_oldest"])
    metrics.OUTBOX_AGE.set(max(0.0, (now - oldest).total_seconds()) if oldest else 0)
    return oldest is not None
