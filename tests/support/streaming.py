"""A continuous stream of events while the aggregator is disturbed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaError

from schemas.log import Vector
from tests.support import database_outcome, events, kafka_log, model
from tests.support.batches import accepted
from tests.support.kafka_log import Message
from tests.support.positions import Connection, accounts, next_offsets
from tests.support.waiting import until

_ANSWER_MS = 3_000
"""The producer refreshes its metadata after this time, because a suspended broker does not report a new leader."""


class Stream:
    """Writes until it is stopped."""

    def __init__(self, bootstrap: str, begin: Vector) -> None:
        self._bootstrap = bootstrap
        self._begin = begin
        self.sent = 0
        self.ending = False

    async def run(self) -> None:
        """Write batches of events with versions, moves and repetitions among them."""
        while not self.ending:
            some = events.mixed(range(self.sent, self.sent + 60))
            try:
                async with kafka_log.producer(self._bootstrap, request_timeout_ms=_ANSWER_MS) as client:
                    async with asyncio.timeout(20):  # not its end, which would leave connections open
                        await kafka_log.send(client, some)
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(0.2)
                continue
            self.sent += len(some)
            await asyncio.sleep(0.02)

    async def more(self, connection: Connection, count: int = 300) -> None:
        """Wait until this many more events are written and records are counted."""
        sent, counted = self.sent, await _records(connection)

        async def done() -> bool:
            return self.sent >= sent + count and await _records(connection) >= counted + count

        await until(done, f"{count} more events")

    async def check(self, connection: Connection) -> None:
        """Check that the database equals the model of the log since the start of the stream."""
        await kafka_log.counted(connection, self._bootstrap)
        messages: list[Message] = []
        for partition, start in self._begin.items():
            records = await kafka_log.read(self._bootstrap, partition.topic, partition.number, start)
            messages += [Message(partition.topic, record.value, record.key, partition.number) for record in records]
        assert await database_outcome.outcome(connection) == model.outcome(accepted(messages))
        assert sum(account["records"] for account in (await accounts(connection)).values()) == len(messages)
        assert await connection.fetchval("SELECT count(*) FROM rejected") == 0


@asynccontextmanager
async def streaming(connection: Connection, bootstrap: str) -> AsyncIterator[Stream]:
    """Write events, starting at the positions, until the end of the block. Then call `check`."""
    stream = Stream(bootstrap, await next_offsets(connection))
    task = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        stream.ending = True  # not cancelled: a client that is cancelled while it connects leaves its sockets open
        async with asyncio.timeout(120):  # it never ends by itself if a test fails while Kafka is away
            await task


async def _records(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT sum(records) FROM partition_position"))
