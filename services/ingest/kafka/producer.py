"""Stores accepted events in Kafka: acks=all, idempotent, batched by partition, with a deadline.

An idempotent aiokafka producer retries without limit. So an event that is not acknowledged before the deadline gets the
receipt `unavailable`, although it may still be stored. The client resends it; events never count twice.

If a batch fails, its producer is replaced while events continue to arrive. ProducerHandle explains why,
EventProducer.start how.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import Any

from aiokafka import AIOKafkaProducer

from schemas.log import Partition
from schemas.topics import EVENT_TOPICS
from services.ingest.intake import PARTITIONS, Accepted, Judged, Partitions, Rejected, partitions_of
from services.ingest.kafka.partition_queue import HEADERS, PartitionQueue, PendingWrite
from services.ingest.receipts import Receipt
from services.runtime import error_messages, kafka, kafka_access, tracing
from services.runtime.kafka_access import EVERY_SECONDS, check_on
from services.runtime.kafka_rights import INGEST, MissingRightError
from services.runtime.logs import get

log = get(__name__)

DEADLINE_SECONDS = 5.0
_RENEW_EVERY = 5.0
"""Minimum seconds between two new producers: brokers store each producer id for a day."""
_START_SECONDS = 30.0
_METADATA_MS = 30_000
BATCH_BYTES = 1_048_576
"""Maximum size of a batch. One event (MAX_EVENT_BYTES) with key and headers is far smaller."""


class ProducerHandle:
    """One idempotent producer and its partition queues. `failed` is set when it must be replaced.

    aiokafka assigns each batch a sequence number and never reuses it. After a failed batch, whatever the error, the
    broker sees a gap and refuses all further batches of this producer id to the partition. So the partition's queue is
    closed. If aiokafka's sender task ends, all queues are closed.
    """

    def __init__(self, client: Mapping[str, Any]) -> None:
        self.failed = asyncio.Event()
        self._closed = False
        self._queues: dict[Partition, PartitionQueue] = {}
        self._context = copy_context()
        self._producer = AIOKafkaProducer(
            **client,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            metadata_max_age_ms=_METADATA_MS,
        )

    async def start(self) -> None:
        """Connect. Raises KafkaError if no broker responds."""
        await kafka.start(self._producer.start)
        self._producer._sender.sender_task.add_done_callback(self._sender_ended)
        await self._producer.client.set_topics([topic.name for topic in EVENT_TOPICS])

    async def check_access(self) -> None:
        """Raises MissingRightError if Kafka no longer permits writing."""
        await check_on(self._producer.client, INGEST)

    def partitions(self, topic: str) -> tuple[Partition, ...]:
        """The partitions of a topic, at most 30 seconds old; empty if unknown."""
        return partitions_of(topic, len(self._producer.client.cluster.partitions_for_topic(topic) or ()))

    def queue(self, partition: Partition) -> PartitionQueue:
        """The queue of a partition."""
        queue = self._queues.get(partition)
        if queue is None:
            queue = self._queues[partition] = PartitionQueue(self._producer, partition, self.failed.set, self._context)
            if self._closed:
                queue.close()
        return queue

    def close(self) -> None:
        """Send nothing more, and fail all pending writes."""
        self._closed = True
        for queue in self._queues.values():
            queue.close()

    async def settle(self, seconds: float) -> None:
        """Wait until all writes are acknowledged or have failed, for at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while pending := [one for queue in self._queues.values() for one in queue.pending()]:
                    await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return

    async def stop(self, seconds: float) -> bool:
        """Close, and wait at most `seconds` for batches in flight. Returns whether all were acknowledged."""
        self.close()
        return await kafka.stop_producer(self._producer, seconds)

    def _sender_ended(self, _: asyncio.Task[None]) -> None:
        self.close()
        self.failed.set()


class EventProducer:
    """Stores the events of one ingest process, and replaces its producer after a failure."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = client
        self._handle = ProducerHandle(client)
        self._renewing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.denied: MissingRightError | None = None
        """Kafka no longer permits writing."""

    async def start(self) -> None:
        """Connect. Raises KafkaError if no broker responds, MissingRightError if it denies writing.

        From then on, a producer with a failed batch is replaced without closing the endpoint, because a partition
        without a leader may fail for minutes while the others work. The new producer is started while the failed one
        still serves all partitions but the failed ones. Then new events go to the new producer, and the failed one
        settles its writes and stops.
        """
        await kafka_access.check(self._client, INGEST)
        await self._handle.start()
        self._renewing = asyncio.create_task(self._renew(), name="renewing")
        self._watching = asyncio.create_task(self._watch_access(), name="watching access")

    def partitions(self) -> Partitions:
        """The partitions of each topic, at most 30 seconds old."""
        return {name: self._handle.partitions(name) or initial for name, initial in PARTITIONS.items()}

    async def stop(self, seconds: float = 5.0) -> None:
        """Wait at most `seconds` for batches in flight, then close. Pending writes fail at once."""
        ends = [asyncio.ensure_future(self._stop(self._handle, seconds))]
        for task in (self._renewing, self._watching):
            if task is not None:
                task.cancel()
                ends.append(task)
        await asyncio.gather(*ends, return_exceptions=True)
        ends[0].result()

    async def store(self, judged: Sequence[Judged]) -> list[Receipt]:
        """Store the accepted events; returns a receipt for each event, in the given order."""
        groups: dict[Partition, list[Accepted]] = {}
        for one in judged:
            if type(one) is Accepted:
                groups.setdefault(one.partition, []).append(one)
        offsets: dict[int, int] = {}
        if groups:
            await self._send(groups, offsets)
        return [_receipt(one, offsets) for one in judged]

    async def _send(self, groups: Mapping[Partition, list[Accepted]], offsets: dict[int, int]) -> None:
        """Send events, and set the offset of each line that is acknowledged before the deadline."""
        headers = HEADERS + tracing.record_headers()
        writes = {partition: PendingWrite(events, offsets, headers) for partition, events in groups.items()}
        handle = self._handle
        try:
            for partition, write in writes.items():
                handle.queue(partition).add(write)
            await asyncio.wait([write.done for write in writes.values()], timeout=DEADLINE_SECONDS)
        finally:
            errors = {write.close() for write in writes.values()} - {None}
        if errors:
            log.warning("events-not-stored", errors=sorted(map(str, errors)))

    async def _renew(self) -> None:
        """Replace each producer that has failed, until this task is cancelled."""
        clock = asyncio.get_running_loop().time
        renewed_at = -math.inf
        while True:
            await self._handle.failed.wait()
            await asyncio.sleep(renewed_at + _RENEW_EVERY - clock())
            renewed_at = clock()
            try:
                await self._replace()
            except Exception as error:  # the failed producer still serves the other partitions
                why = error_messages.message(error)
                unknown = error if why is None else None
                log.warning("producer-not-replaced", error=type(error).__name__, reason=why, exc_info=unknown)

    async def _watch_access(self) -> None:
        while self.denied is None:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self._handle.check_access()
            except MissingRightError as error:
                self.denied = error

    async def _replace(self) -> None:
        retired = fresh = ProducerHandle(self._client)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await fresh.start()
            retired, self._handle = self._handle, fresh
            log.warning("producer-replaced")
            await retired.settle(DEADLINE_SECONDS)
        finally:
            await retired.stop(0)

    async def _stop(self, handle: ProducerHandle, seconds: float) -> None:
        if not await handle.stop(seconds):
            log.warning("producer-closed-with-unsent-events")


def _receipt(one: Judged, offsets: Mapping[int, int]) -> Receipt:
    if isinstance(one, Rejected):
        return one.receipt
    offset = offsets.get(one.line)
    return one.unavailable() if offset is None else one.stored(offset)
