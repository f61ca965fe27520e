"""Writes batches strictly in order. While PostgreSQL processes one batch, the next is decoded.

If a batch was not written, or its outcome is unknown, all decoded batches are dropped and the partitions are read again
from the positions in PostgreSQL. No batch is ever retried from memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count as numbers
from time import perf_counter
from typing import NamedTuple

from opentelemetry.trace import Link

from schemas.log import Partition
from schemas.week import WeekIndex
from services.aggregator import batch_span, decoding, delay
from services.aggregator.batch_size import BatchSize
from services.aggregator.decoding import Batch
from services.aggregator.reader import Reader
from services.aggregator.spans import Span, count_records, halves, split
from services.aggregator.store import TIMEOUT, FencedError, Store, WriteResult
from services.runtime import metrics, tracing
from services.runtime.errors import is_data_error, is_transient
from services.runtime.logs import get

log = get(__name__)

_SLOW = TIMEOUT.total_seconds() * 0.9
_DECODE_STEP = 100
"""Records decoded between two turns of the event loop: about a millisecond of work."""


class _Decoded(NamedTuple):
    number: int
    batch: Batch
    spans: list[Span]
    began_ns: int
    links: Sequence[Link] = ()


class Writer:
    """The writing task of one session. When it fails, the next session starts with a new reader and a new writer."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        weeks: WeekIndex,
        size: BatchSize,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` returns Unix seconds, for the metrics of delay."""
        self._store = store
        self._reader = reader
        self._weeks = weeks
        self._size = size
        self._clock = clock
        self._next: _Decoded | None = None
        self._numbers = numbers(1)
        self._in_flight: dict[int, list[Span]] = {}
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._error: Exception | None = None
        self._closed = False
        self._changed = asyncio.Condition()
        self._decode_lock = asyncio.Lock()

    @property
    def busy(self) -> set[Partition]:
        """The partitions with records that were accepted by `put` and are neither written nor dropped."""
        return {span.partition for spans in self._in_flight.values() for span in spans}

    async def put(self, spans: list[Span]) -> None:
        """Decode spans and queue the batch. Backpressure: waits while another decoded batch is queued."""
        for group in split(spans, self._size.limit):
            if self._closed:
                return
            await self._put(group)

    async def _put(self, spans: list[Span]) -> None:
        number = next(self._numbers)
        self._in_flight[number] = spans
        try:
            async with self._decode_lock:
                began_ns, links = time.time_ns(), batch_span.links(spans)
                batch = await self._decode(spans)
                await self._queue(_Decoded(number, batch, spans, began_ns, links))
        except BaseException:
            del self._in_flight[number]
            raise

    async def _decode(self, spans: list[Span]) -> Batch:
        """Decode a few records at a time, so that the event loop can process PostgreSQL's responses in between."""
        decoder = decoding.BatchDecoder(self._weeks)
        for span in spans:
            for start in range(0, len(span.records), _DECODE_STEP):
                decoder.add(span.partition.topic, span.records[start : start + _DECODE_STEP])
                await asyncio.sleep(0)
        return decoder.batch(spans)

    async def _queue(self, decoded: _Decoded) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._next is None or self._closed)
            if not self._closed:
                self._next = decoded
                self._changed.notify_all()

    async def drained(self) -> None:
        """Wait until every batch accepted so far is written or dropped. PostgreSQL's positions are then current."""
        pending = set(self._in_flight)
        async with self._changed:
            await self._changed.wait_for(lambda: pending.isdisjoint(self._in_flight))

    async def fail(self, error: Exception) -> None:
        """End the session with this error, which occurred outside the writing task."""
        async with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    async def close(self) -> None:
        """Release callers that wait in `put`. Decoded batches are dropped."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def run(self) -> None:
        """Write batches until an error occurs. The error is raised and must end the session."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._next is not None or self._error is not None)
                if self._error is not None:
                    raise self._error
                assert self._next is not None
                current, self._next = self._next, None
                self._changed.notify_all()
            began = perf_counter()
            self._outcomes.clear()
            with batch_span.of_batch(count_records(current.spans), current.began_ns, current.links):
                try:
                    await self._write(current.batch, current.spans)
                    self._report_delay(current.spans)
                except FencedError as fenced:
                    tracing.annotate({"ddor.fenced": True})
                    log.info("batch-fenced", partition=str(fenced))
                    self._drop(current.spans)
                batch_span.counted(self._outcomes)
            metrics.BATCH_SECONDS.observe(perf_counter() - began)
            async with self._changed:
                del self._in_flight[current.number]
                self._changed.notify_all()

    async def _write(self, batch: Batch, spans: list[Span]) -> None:
        try:
            await self._commit(batch)
        except FencedError:
            raise
        except Exception as error:
            if is_transient(error) or not is_data_error(error):
                raise
            log.warning("batch-failed", records=count_records(spans), error=type(error).__name__)
            await self._bisect(spans, error)

    async def _bisect(self, spans: list[Span], error: Exception) -> None:
        """Write the two halves of a failed batch. A record that fails alone is rejected as internal_error."""
        records = count_records(spans)
        if records == 0:
            raise error
        if records == 1:
            (span,) = (span for span in spans if span.records)
            log.error("record-failed", partition=str(span.partition), offset=span.records[0].offset, exc_info=error)
            await self._commit(decoding.internal_error(span, error))
            return
        for half in halves(spans):
            await self._write(decoding.decode(half, self._weeks), half)

    async def _commit(self, batch: Batch) -> None:
        """Write one batch in one transaction. Its duration adjusts the batch size."""
        began = perf_counter()
        try:
            result = await self._store.write(batch)
        except Exception as error:
            if is_transient(error) and perf_counter() - began >= _SLOW:
                self._size.too_slow(sum(claim.records for claim in batch.claims))
                log.warning("batch-too-slow", limit=self._size.limit)
            raise
        self._size.committed(result.outcomes.total(), perf_counter() - began < _SLOW / 2)
        self._reader.mark_written(batch.claims)
        self._report(result)

    def _report(self, result: WriteResult) -> None:
        for (topic, outcome), number in result.outcomes.items():
            metrics.AGGREGATOR_RECORDS.labels(topic, outcome).inc(number)
        self._outcomes += result.outcomes
        records = result.outcomes.total()
        if records:
            metrics.BATCH_RECORDS.observe(records)
        for partition, reason in result.halted.items():
            log.error("partition-halted", partition=str(partition), reason=reason)
        self._reader.stop(result.halted)

    def _report_delay(self, spans: Sequence[Span]) -> None:
        measured = delay.measure(spans, self._clock())
        if measured is None:
            return
        metrics.COUNT_DELAY.observe(measured.seconds)
        for topic, number in measured.late.items():
            metrics.LATE_RECORDS.labels(topic).inc(number)

    def _drop(self, spans: Sequence[Span]) -> None:
        """Stop reading the partitions of a fenced batch and of the batch decoded after it."""
        self._reader.stop(span.partition for span in spans)
        if self._next is not None:
            self._reader.stop(span.partition for span in self._next.spans)
            del self._in_flight[self._next.number]
            self._next = None
