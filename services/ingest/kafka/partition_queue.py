"""The queue of events for one partition: batches events of many requests.

One batch is in flight, one is ready, and the next is filled meanwhile. If each request sent its own batch, 200
concurrent requests would wait for one another beyond the deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from schemas.log import Partition
from schemas.topics import CONTENT_TYPE
from services.ingest.intake import Accepted
from services.runtime.errors import InvariantError

HEADERS = [("content-type", CONTENT_TYPE.encode())]
"""The headers of each record."""


class PendingWrite:
    """The events of one request for one partition. `done` is set when all of them are acknowledged."""

    __slots__ = ("done", "events", "headers", "left", "offsets", "sent")

    def __init__(
        self, events: Sequence[Accepted], offsets: dict[int, int], headers: list[tuple[str, bytes]] = HEADERS
    ) -> None:
        """`offsets` receives the offset of each acknowledged line. `headers` are those of each record."""
        self.events = events
        self.offsets = offsets
        self.headers = headers
        self.sent = 0
        self.left = len(events)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def acknowledged(self, start: int, end: int, offset: int) -> None:
        """Events `start` to `end` (exclusive) are in the log, the first of them at `offset`."""
        if self.done.done():
            return
        for index in range(start, end):
            self.offsets[self.events[index].line] = offset + index - start
        self.left -= end - start
        if not self.left:
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """At least one event will not be acknowledged."""
        if not self.done.done():
            self.done.set_exception(error)

    def close(self) -> str | None:
        """Stop waiting; events that have not been sent are dropped. Returns the name of the error, if any."""
        if not self.done.done():
            self.done.cancel()
            return "TimeoutError"
        if self.done.cancelled() or (error := self.done.exception()) is None:
            return None
        if not isinstance(error, KafkaError):
            raise error
        return type(error).__name__


class _BatchSlice(NamedTuple):
    """The events of a write, from `start` to `end` (exclusive), in one batch."""

    write: PendingWrite
    start: int
    end: int


class PartitionQueue:
    """Sends writes to one partition in order, until a batch fails. The queue is then closed (see ProducerHandle)."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        partition: Partition,
        failed: Callable[[], None],
        context: Context | None = None,
    ) -> None:
        """`failed` is called if a batch in flight is not acknowledged.

        `context` is that of the task that sends batches. It serves many requests, so it must not be that of a request.
        """
        self._context = context
        self._producer = producer
        self._partition = partition
        self._failed = failed
        self._closed = False
        self._waiting: deque[PendingWrite] = deque()
        self._sent: dict[asyncio.Future[Any], list[_BatchSlice]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, write: PendingWrite) -> None:
        """Send the events with the next batch."""
        if self._closed:
            write.fail(ProducerClosed())
            return
        self._waiting.append(write)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), context=self._context)

    def close(self) -> None:
        """Send nothing more, and fail all pending writes."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        for slices in self._sent.values():
            _fail(slices, ProducerClosed())
        self._sent.clear()
        self._fail_waiting()

    def pending(self) -> Iterable[asyncio.Future[Any]]:
        """The futures to wait for until all writes are settled."""
        if self._task is not None and not self._task.done():
            yield self._task
        yield from self._sent

    def _fail_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().fail(ProducerClosed())

    async def _run(self) -> None:
        while self._waiting:
            batch, slices = self._fill()
            if not slices:
                continue
            try:
                # Returns when the previous batch has been sent.
                acknowledged = await self._producer.send_batch(
                    batch, self._partition.topic, partition=self._partition.number
                )
            except asyncio.CancelledError:
                _fail(slices, ProducerClosed())
                self._fail_waiting()
                raise
            except Exception as error:  # the request raises it if it is not a KafkaError
                _fail(slices, error)
            else:
                self._sent[acknowledged] = slices
                acknowledged.add_done_callback(self._settle)

    def _settle(self, acknowledged: asyncio.Future[Any]) -> None:
        slices = self._sent.pop(acknowledged, ())
        error = ProducerClosed() if acknowledged.cancelled() else acknowledged.exception()
        if isinstance(error, Exception):
            _fail(slices, error)
            self.close()
            self._failed()
            return
        offset = acknowledged.result().offset
        for write, start, end in slices:
            write.acknowledged(start, end, offset)
            offset += end - start

    def _fill(self) -> tuple[Any, list[_BatchSlice]]:
        """The next batch, as full as possible. An event that does not fit an empty batch fails with InvariantError."""
        batch = self._producer.create_batch()
        slices: list[_BatchSlice] = []
        while self._waiting:
            write = self._waiting[0]
            start = end = write.sent
            headers = write.headers
            while not write.done.done() and end < len(write.events):
                event = write.events[end]
                if batch.append(key=event.key, value=event.value, timestamp=None, headers=headers) is None:
                    break
                end += 1
            if not slices and end == start and not write.done.done() and end < len(write.events):
                # Retrying would loop forever without yielding to other tasks.
                write.fail(InvariantError(f"line {write.events[end].line} does not fit an empty batch"))
                self._waiting.popleft()
                break
            if end > start:
                slices.append(_BatchSlice(write, start, end))
                write.sent = end
            if not write.done.done() and end < len(write.events):
                break
            self._waiting.popleft()
        batch.close()
        return batch, slices


def _fail(slices: Iterable[_BatchSlice], error: Exception) -> None:
    for one in slices:
        one.write.fail(error)
