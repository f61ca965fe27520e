"""A writer over a store that keeps what it is given, waits, or fails; a reader over a consumer that does nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from aiokafka import TopicPartition

from services.aggregator.leases import Partition
from services.aggregator.log import Position
from services.aggregator.reader import Reader
from services.aggregator.sizing import BatchSize
from services.aggregator.spans import Span
from services.aggregator.store import Written
from services.aggregator.tally import Batch
from services.aggregator.tenancy import Lease
from services.aggregator.writer import Writer
from tests.support.batches import WEEKS, Record

ISSUED_0, ISSUED_1 = Partition("detainer-issued", 0), Partition("detainer-issued", 1)
DECLINED_0 = Partition("detainer-declined", 0)


class Quiet:
    """A consumer that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.told.append(("assign", *partitions))

    def pause(self, *partitions: TopicPartition) -> None:
        self.told.append(("pause", *partitions))

    def resume(self, *partitions: TopicPartition) -> None:
        self.told.append(("resume", *partitions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.told.append(("seek", partition, offset))


class FakeStore:
    """Keeps each batch once `open`; asks `judge` first, which may raise."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.tries = 0
        self.open = asyncio.Event()
        self.open.set()
        self.halts: dict[Partition, str] = {}
        self.judge: Callable[[Batch], None] = lambda _batch: None

    async def write(self, batch: Batch) -> Written:
        """As the real one: all of the batch or nothing."""
        self.tries += 1
        await self.open.wait()
        self.judge(batch)
        self.batches.append(batch)
        counted = Counter({("detainer-issued", "ledger"): sum(claim.records for claim in batch.claims)})
        return Written(counted, self.halts)

    @property
    def ends(self) -> list[tuple[int, int]]:
        """What was written of each span, in order: [start, end)."""
        return [(claim.start, claim.end) for batch in self.batches for claim in batch.claims]


class WriterSession:
    """A reader that holds two partitions from offset 0, and a writer."""

    def __init__(self, most: int = 1_000) -> None:
        self.store = FakeStore()
        self.consumer = Quiet()
        self.reader = Reader(self.consumer)
        self.size = BatchSize(most)
        self.writer = Writer(cast("Any", self.store), self.reader, WEEKS, self.size)
        for partition in (ISSUED_0, ISSUED_1):
            self.reader.gain(lease(partition))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """The writer at work; it is cancelled afterwards."""
        task = asyncio.create_task(self.writer.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def spans(self, partition: Partition, *offsets: int) -> list[Span]:
        """What the reader makes of a delivery."""
        return self.reader.spans(records(partition, *offsets))


def lease(partition: Partition, at: int = 0, epoch: int = 1) -> Lease:
    """A lease that begins at a position."""
    return Lease(Position(partition, at, None, None), epoch, None)


def records(partition: Partition, *offsets: int) -> list[Record]:
    """Records that are no events, so that all are rejects."""
    return [Record(partition.topic, partition.number, one, None, b"{}") for one in offsets]


async def turns(count: int = 20) -> None:
    """Let all that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)
