"""The ways of events to Kafka: one idempotent producer, and a lane of batches to each partition.

Events of many requests go in one batch: while one is on its way and one is ready, the next is filled. Requests that
each sent a batch of their own would wait for one another; 200 of them for longer than the deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from schemas.topics import CONTENT_TYPE, EVENT_TOPICS
from services.ingest.intake import Accepted
from services.runtime import kafka

_METADATA_MS = 30_000
_HEADERS = [("content-type", CONTENT_TYPE.encode())]


class Link:
    """One producer with an id of its own, and its lanes. `failed` is set when another one is to take its place.

    Each batch has a sequence number, which aiokafka counts on when it takes the batch and never takes back. So behind
    a batch that failed, whatever the error, the broker finds a gap, and refuses all that this producer id sends to the
    partition from then on: the lane is closed. When aiokafka's task that sends has ended, all lanes are.
    """

    def __init__(self, client: Mapping[str, Any]) -> None:
        self.failed = asyncio.Event()
        self._closed = False
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._producer = AIOKafkaProducer(
            **client,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=1_048_576,
            metadata_max_age_ms=_METADATA_MS,
        )

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers."""
        await kafka.start(self._producer.start)
        self._producer._sender.sender_task.add_done_callback(self._sender_ended)
        await self._producer.client.set_topics([topic.name for topic in EVENT_TOPICS])

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has, as seen at most half a minute ago; 0: not known."""
        return len(self._producer.client.cluster.partitions_for_topic(topic) or ())

    def lane(self, place: tuple[str, int]) -> Lane:
        """The way to a partition."""
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(self._producer, *place, self.failed.set)
            if self._closed:
                lane.close()
        return lane

    def close(self) -> None:
        """Send nothing more; whoever waits is told."""
        self._closed = True
        for lane in self._lanes.values():
            lane.close()

    async def settle(self, seconds: float) -> None:
        """Wait until all that was added is acknowledged or has failed; at most so long."""
        try:
            async with asyncio.timeout(seconds):
                while pending := [one for lane in self._lanes.values() for one in lane.pending()]:
                    await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return

    async def stop(self, seconds: float) -> bool:
        """Close, and wait so long for what is on its way; whether all of it was acknowledged."""
        self.close()
        return await kafka.stop_producer(self._producer, seconds)

    def _sender_ended(self, _: asyncio.Task[None]) -> None:
        self.close()
        self.failed.set()


class Share:
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

    share: Share
    start: int
    end: int


class Lane:
    """The way to one partition: in order, one batch behind the other, until one fails."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int, failed: Callable[[], None]) -> None:
        """`failed` is called when a batch that aiokafka had taken was not acknowledged."""
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._failed = failed
        self._closed = False
        self._waiting: deque[Share] = deque()
        self._sent: dict[asyncio.Future[Any], list[_Part]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, share: Share) -> None:
        """Send it with the next batch."""
        if self._closed:
            share.fail(ProducerClosed())
            return
        self._waiting.append(share)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """Send nothing more; whoever waits is told."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        for parts in self._sent.values():
            _fail(parts, ProducerClosed())
        self._sent.clear()
        self._fail_waiting()

    def pending(self) -> Iterable[asyncio.Future[Any]]:
        """What to wait for before all that was added is settled."""
        if self._task is not None and not self._task.done():
            yield self._task
        yield from self._sent

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
        parts = self._sent.pop(acknowledged, ())
        error = ProducerClosed() if acknowledged.cancelled() else acknowledged.exception()
        if isinstance(error, Exception):
            _fail(parts, error)
            self.close()
            self._failed()
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


def _fail(parts: Iterable[_Part], error: Exception) -> None:
    for part in parts:
        part.share.fail(error)
