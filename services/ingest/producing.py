"""Storing accepted events in Kafka: acks=all, idempotent, in batches by partition, with a deadline of our own.

Events of many requests go in one batch: while one is on its way and one is ready, the next is filled. Requests that
each sent a batch of their own would wait for one another; 200 of them for longer than the deadline.

An idempotent aiokafka producer never gives up by itself, so what is not acknowledged in time is answered `unavailable`
though it may still be written. Sending it again cannot count twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from schemas.topics import CONTENT_TYPE, EVENT_TOPICS
from services.ingest.intake import PARTITIONS, Accepted, Judged, Rejected
from services.ingest.receipts import Receipt
from services.runtime import kafka
from services.runtime.logs import get

log = get(__name__)

DEADLINE_SECONDS = 5.0
_METADATA_MS = 30_000
_HEADERS = [("content-type", CONTENT_TYPE.encode())]


class EventProducer:
    """The producer of one ingest process."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._producer = AIOKafkaProducer(
            **client,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=1_048_576,
            metadata_max_age_ms=_METADATA_MS,
        )
        self._lanes: dict[tuple[str, int], _Lane] = {}

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers."""
        await kafka.start(self._producer.start)
        for topic in EVENT_TOPICS:
            self._producer.client.add_topic(topic.name)

    def partitions(self) -> dict[str, int]:
        """How many partitions each topic has, as seen at most half a minute ago."""
        cluster = self._producer.client.cluster
        return {name: len(cluster.partitions_for_topic(name) or ()) or made for name, made in PARTITIONS.items()}

    async def stop(self, seconds: float = 5.0) -> None:
        """Send what is buffered and close, or close without it when Kafka stays away.

        Those who wait for an acknowledgement are told at once that there is none.
        """
        for lane in self._lanes.values():
            lane.close()
        try:
            async with asyncio.timeout(seconds):
                await self._producer.stop()
        except TimeoutError:
            log.warning("producer-closed-with-unsent-events")

    async def store(self, judged: Sequence[Judged]) -> list[Receipt]:
        """Write what was accepted; answers a receipt for each, in the order given."""
        groups: dict[tuple[str, int], list[Accepted]] = {}
        for one in judged:
            if type(one) is Accepted:
                groups.setdefault((one.topic, one.partition), []).append(one)
        offsets: dict[int, int] = {}
        if groups:
            await self._send(groups, offsets)
        return [_receipt(one, offsets) for one in judged]

    async def _send(self, groups: Mapping[tuple[str, int], list[Accepted]], offsets: dict[int, int]) -> None:
        """Send events and note the offset of each line that is acknowledged before the deadline."""
        shares = {place: _Share(events, offsets) for place, events in groups.items()}
        try:
            for place, share in shares.items():
                self._lane(place).add(share)
            await asyncio.wait([share.done for share in shares.values()], timeout=DEADLINE_SECONDS)
        finally:
            errors = {share.close() for share in shares.values()} - {None}
        if errors:
            log.warning("events-not-stored", errors=sorted(map(str, errors)))

    def _lane(self, place: tuple[str, int]) -> _Lane:
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane(self._producer, *place)
        return lane


class _Share:
    """What one request stores in one partition; `done` when all of it is acknowledged."""

    __slots__ = ("done", "events", "left", "offsets", "sent")

    def __init__(self, events: Sequence[Accepted], offsets: dict[int, int]) -> None:
        self.events = events
        self.offsets = offsets
        self.sent = 0
        self.left = len(events)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def acknowledged(self, start: int, end: int, offset: int) -> None:
        """The events from `start` to `end` are in the log, the first of them at `offset`."""
        if self.done.done():
            return
        for index in range(start, end):
            self.offsets[self.events[index].line] = offset + index - start
        self.left -= end - start
        if not self.left:
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Not all of it will be acknowledged."""
        if not self.done.done():
            self.done.set_exception(error)

    def close(self) -> str | None:
        """Nobody waits any more: what has not been sent will not be. The name of the error, if there was one."""
        if not self.done.done():
            self.done.cancel()
            return "TimeoutError"
        if self.done.cancelled() or (error := self.done.exception()) is None:
            return None
        if not isinstance(error, KafkaError):
            raise error
        return type(error).__name__


class _Part(NamedTuple):
    """Events of a share, from `start` to `end`, in a batch."""

    share: _Share
    start: int
    end: int


class _Lane:
    """The way to one partition: in order, one batch behind the other."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._waiting: deque[_Share] = deque()
        self._sent: dict[asyncio.Future[Any], list[_Part]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, share: _Share) -> None:
        """Send it with the next batch."""
        self._waiting.append(share)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """Send nothing more; whoever waits is told."""
        if self._task is not None:
            self._task.cancel()
        for parts in self._sent.values():
            _fail(parts, ProducerClosed())
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().fail(ProducerClosed())

    async def _run(self) -> None:
        while self._waiting:
            batch, parts = self._fill()
            if not parts:
                continue
            try:
                # Returns when the batch before has left.
                acknowledged = await self._producer.send_batch(batch, self._topic, partition=self._partition)
            except asyncio.CancelledError:
                _fail(parts, ProducerClosed())
                self._fail_waiting()
                raise
            except Exception as error:  # whoever waits raises it if it is no trouble of Kafka's
                _fail(parts, error)
            else:
                self._sent[acknowledged] = parts
                acknowledged.add_done_callback(self._settle)

    def _settle(self, acknowledged: asyncio.Future[Any]) -> None:
        parts = self._sent.pop(acknowledged)
        error = ProducerClosed() if acknowledged.cancelled() else acknowledged.exception()
        if isinstance(error, Exception):
            _fail(parts, error)
            return
        offset = acknowledged.result().offset
        for share, start, end in parts:
            share.acknowledged(start, end, offset)
            offset += end - start

    def _fill(self) -> tuple[Any, list[_Part]]:
        """A batch of what waits, as much as goes in."""
        batch = self._producer.create_batch()
        parts: list[_Part] = []
        while self._waiting:
            share = self._waiting[0]
            start = end = share.sent
            while not share.done.done() and end < len(share.events):
                event = share.events[end]
                if batch.append(key=event.key, value=event.value, timestamp=None, headers=_HEADERS) is None:
                    break
                end += 1
            if end > start:
                parts.append(_Part(share, start, end))
                share.sent = end
            if not share.done.done() and end < len(share.events):
                break
            self._waiting.popleft()
        batch.close()
        return batch, parts


def _fail(parts: Sequence[_Part], error: Exception) -> None:
    for part in parts:
        part.share.fail(error)


def _receipt(one: Judged, offsets: Mapping[int, int]) -> Receipt:
    if isinstance(one, Rejected):
        return one.receipt
    offset = offsets.get(one.line)
    return one.unavailable() if offset is None else one.stored(offset)
