"""A fake of aiokafka's producer, with the methods that ingest uses."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber

from schemas.log import Partition
from services.ingest.intake import Accepted
from services.ingest.kafka import producer as producing
from services.ingest.kafka.producer import EventProducer
from services.ingest.receipts import Receipt

BATCH_BYTES = 1_000


class Batch:
    """A batch of at most BATCH_BYTES."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.headers: list[dict[str, bytes]] = []

    def append(self, *, key: bytes, value: bytes, timestamp: None, headers: list[tuple[str, bytes]]) -> object:
        if self.values and sum(map(len, self.values)) + len(value) > BATCH_BYTES:
            return None
        self.values.append(value)
        self.headers.append(dict(headers))
        return object()

    def close(self) -> None:
        """Does nothing."""


@dataclass
class Written:
    offset: int


class Kafka:
    """Acknowledges batches. By partition: `holds` delay, `errors` fail on send, `refusals` fail after it."""

    def __init__(self) -> None:
        self.log: dict[int, list[bytes]] = defaultdict(list)
        self.batches: list[int] = []
        self.headers: list[dict[str, bytes]] = []
        self.away = asyncio.Event()
        self.away.set()
        self.holds: dict[int, asyncio.Event] = {}
        self.errors: dict[int, Exception] = {}
        self.refusals: dict[int, Exception] = {}
        self.no_start: Exception | None = None
        self.waiting = 0
        self.producers: list[Client] = []

    @property
    def at_work(self) -> list[Client]:
        """The producers that were not stopped."""
        return [one for one in self.producers if not one.stopped]


class Client:
    """One producer. A failed batch leaves a gap in the sequence, like with a real broker."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._gaps: set[int] = set()
        self._acknowledging: set[asyncio.Task[None]] = set()
        self.dies: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stopped = False
        self.client = self.cluster = self._sender = self
        self.sender_task: asyncio.Task[None] | None = None
        self._md_update_fut = None
        kafka.producers.append(self)

    async def start(self) -> None:
        if self._kafka.no_start is not None:
            raise self._kafka.no_start
        self.sender_task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        await self.dies

    async def set_topics(self, _: object) -> None:
        """Does nothing."""

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0, 1, 2}

    async def flush(self) -> None:
        await asyncio.gather(*self._acknowledging)

    async def close(self) -> None:
        self.stopped = True

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Written]:
        """Returns when the previous batch has been sent, like aiokafka."""
        kafka = self._kafka
        kafka.waiting += 1
        await kafka.away.wait()
        kafka.waiting -= 1
        if partition in kafka.errors:
            raise kafka.errors[partition]
        acknowledged: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._acknowledge(acknowledged, batch, partition))
        self._acknowledging.add(task)
        task.add_done_callback(self._acknowledging.discard)
        return acknowledged

    async def _acknowledge(self, acknowledged: asyncio.Future[Written], batch: Batch, partition: int) -> None:
        kafka = self._kafka
        await asyncio.sleep(0.001)
        if partition in kafka.holds:
            await kafka.holds[partition].wait()
        if partition in self._gaps:
            acknowledged.set_exception(OutOfOrderSequenceNumber())
        elif partition in kafka.refusals:
            self._gaps.add(partition)
            acknowledged.set_exception(kafka.refusals[partition])
        else:
            acknowledged.set_result(Written(len(kafka.log[partition])))
            kafka.log[partition] += batch.values
            kafka.batches.append(len(batch.values))
            kafka.headers += batch.headers


def event(line: int, partition: int = 0, size: int = 10) -> Accepted:
    return Accepted(line, f"e/{line}", Partition("detainer-issued", partition), b"key", b"%d" % line + b"." * size)


async def waiting(kafka: Kafka, batches: int = 1) -> bool:
    return kafka.waiting == batches


def assert_true(kafka: Kafka, events: list[Accepted], receipts: list[Receipt]) -> None:
    """Each receipt with the status `accepted` has the offset of its event."""
    for one, receipt in zip(events, receipts, strict=True):
        assert (receipt.line, receipt.id) == (one.line, one.event_id)
        if receipt.status == "accepted":
            assert receipt.partition == one.partition.number
            assert receipt.offset is not None
            assert kafka.log[one.partition.number][receipt.offset] == one.value


def in_place_of_aiokafkas(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """Replace aiokafka's producer by the fake, with a short deadline."""
    kafka = Kafka()
    monkeypatch.setattr(producing, "AIOKafkaProducer", lambda **_: Client(kafka))
    monkeypatch.setattr(producing, "DEADLINE_SECONDS", 0.3)
    monkeypatch.setattr("services.runtime.kafka_access.check", _permitted)
    return kafka


async def _permitted(*_: object) -> None:
    """Every right is there."""


@asynccontextmanager
async def running() -> AsyncIterator[EventProducer]:
    """A producer, stopped afterwards."""
    one = EventProducer({})
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
