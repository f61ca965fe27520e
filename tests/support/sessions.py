"""A writer with a fake store, and a reader with a fake consumer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from aiokafka import TopicPartition

from schemas.log import Partition
from services.aggregator.batch_size import BatchSize
from services.aggregator.decoding import Batch
from services.aggregator.lease_manager import Lease
from services.aggregator.log_inspector import Checkpoint
from services.aggregator.reader import Reader
from services.aggregator.spans import Span
from services.aggregator.store import WriteResult
from services.aggregator.writer import Writer
from tests.support.batches import WEEKS, Record

ISSUED_0, ISSUED_1 = Partition("detainer-issued", 0), Partition("detainer-issued", 1)
DECLINED_0 = Partition("detainer-declined", 0)


class FakeConsumer:
    """A consumer that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.calls.append(("assign", *partitions))

    def pause(self, *partitions: TopicPartition) -> None:
        self.calls.append(("pause", *partitions))

    def resume(self, *partitions: TopicPartition) -> None:
        self.calls.append(("resume", *partitions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.calls.append(("seek", partition, offset))


class FakeStore:
    """Stores each batch once `open` is set. Calls `judge` first, which may raise."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.tries = 0
        self.open = asyncio.Event()
        self.open.set()
        self.halts: dict[Partition, str] = {}
        self.judge: Callable[[Batch], None] = lambda _batch: None

    async def write(self, batch: Batch) -> WriteResult:
        """Write all of the batch or, if `judge` raises, nothing."""
        self.tries += 1
        await self.open.wait()
        self.judge(batch)
        self.batches.append(batch)
        counted = Counter({("detainer-issued", "ledger"): sum(claim.records for claim in batch.claims)})
        return WriteResult(counted, self.halts)

    @property
    def ends(self) -> list[tuple[int, int]]:
        """The bounds [start, end) of each span written, in order."""
        return [(claim.start, claim.end) for batch in self.batches for claim in batch.claims]


class WriterSession:
    """A reader that reads two partitions from offset 0, and a writer."""

    def __init__(self, most: int = 1_000) -> None:
        self.store = FakeStore()
        self.consumer = FakeConsumer()
        self.reader = Reader(self.consumer)
        self.size = BatchSize(most)
        self.writer = Writer(cast("Any", self.store), self.reader, WEEKS, self.size)
        for partition in (ISSUED_0, ISSUED_1):
            self.reader.start(lease(partition))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the writer; cancel it at the end."""
        task = asyncio.create_task(self.writer.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def spans(self, partition: Partition, *offsets: int) -> list[Span]:
        """The spans that the reader returns for a delivery."""
        return self.reader.spans(records(partition, *offsets))


def lease(partition: Partition, at: int = 0, epoch: int = 1) -> Lease:
    """A lease with this position."""
    return Lease(Checkpoint(partition, at, None, None), epoch, None)


def records(partition: Partition, *offsets: int) -> list[Record]:
    """Invalid records: all are rejected."""
    return [Record(partition.topic, partition.number, one, None, b"{}") for one in offsets]


async def turns(count: int = 20) -> None:
    """Let other tasks run for some turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)
