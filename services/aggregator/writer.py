"""Writing batches strictly in order, one ahead: while PostgreSQL works on one, the next is decoded.

A batch is written, or not, or it is not known. In the last two cases everything decoded is dropped, and the partitions
are read again from where PostgreSQL says they are. Nothing is ever sent a second time on the strength of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count as numbers
from time import perf_counter
from typing import NamedTuple

from schemas.week import WeekIndex
from services.aggregator import tally
from services.aggregator.leases import Partition
from services.aggregator.reader import Reader
from services.aggregator.sizing import BatchSize
from services.aggregator.spans import Span, count, halves, parts
from services.aggregator.store import TIMEOUT, Fenced, Store, Written
from services.aggregator.tally import Batch
from services.runtime import metrics
from services.runtime.errors import is_transient, may_lie_in_a_record
from services.runtime.logs import get

log = get(__name__)

_SLOW = TIMEOUT.total_seconds() * 0.9
_FEW = 100
"""Records decoded in about a millisecond."""


class _Ahead(NamedTuple):
    number: int
    batch: Batch
    spans: list[Span]


class Writer:
    """The one task that writes. One session's: when it fails, a new reader and a new writer begin."""

    def __init__(self, store: Store, reader: Reader, weeks: WeekIndex, size: BatchSize) -> None:
        self._store = store
        self._reader = reader
        self._weeks = weeks
        self._size = size
        self._ahead: _Ahead | None = None
        self._numbers = numbers(1)
        self._in_flight: dict[int, list[Span]] = {}
        self._error: Exception | None = None
        self._closed = False
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()

    @property
    def busy(self) -> set[Partition]:
        """The partitions of all that was taken and is neither written nor dropped."""
        return {span.partition for spans in self._in_flight.values() for span in spans}

    async def put(self, spans: list[Span]) -> None:
        """Decode spans and hand them on; waits while one decoded batch is waiting already."""
        for part in parts(spans, self._size.limit):
            if self._closed:
                return
            await self._put(part)

    async def _put(self, spans: list[Span]) -> None:
        number = next(self._numbers)
        self._in_flight[number] = spans
        try:
            async with self._turn:
                batch = await self._decode(spans)
                await self._hand_on(_Ahead(number, batch, spans))
        except BaseException:
            del self._in_flight[number]
            raise

    async def _decode(self, spans: list[Span]) -> Batch:
        """Decode a few records at a time: between them the server's answers to the batch before are heard."""
        reading = tally.Reading(self._weeks)
        for span in spans:
            for start in range(0, len(span.records), _FEW):
                reading.read(span.partition.topic, span.records[start : start + _FEW])
                await asyncio.sleep(0)
        return reading.batch(spans)

    async def _hand_on(self, ahead: _Ahead) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._ahead is None or self._closed)
            if not self._closed:
                self._ahead = ahead
                self._changed.notify_all()

    async def settled(self) -> None:
        """Return once all that was taken until now is written or dropped: then PostgreSQL's positions say it all."""
        taken = set(self._in_flight)
        async with self._changed:
            await self._changed.wait_for(lambda: taken.isdisjoint(self._in_flight))

    async def fail(self, error: Exception) -> None:
        """End the session by this error, which came up outside the task that writes."""
        async with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    async def close(self) -> None:
        """Let go of whoever waits in `put`; what was decoded is dropped."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def run(self) -> None:
        """Write until something fails; the failure is raised, and the session must end with it."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._ahead is not None or self._error is not None)
                if self._error is not None:
                    raise self._error
                assert self._ahead is not None
                ahead, self._ahead = self._ahead, None
                self._changed.notify_all()
            began = perf_counter()
            try:
                await self._write(ahead.batch, ahead.spans)
            except Fenced as fenced:
                log.info("batch-fenced", partition=str(fenced))
                self._drop(ahead.spans)
            metrics.BATCH_SECONDS.observe(perf_counter() - began)
            async with self._changed:
                del self._in_flight[ahead.number]
                self._changed.notify_all()

    async def _write(self, batch: Batch, spans: list[Span]) -> None:
        try:
            await self._commit(batch)
        except Fenced:
            raise
        except Exception as error:
            if is_transient(error) or not may_lie_in_a_record(error):
                raise
            log.warning("batch-failed", records=count(spans), error=type(error).__name__)
            await self._bisect(spans, error)

    async def _bisect(self, spans: list[Span], error: Exception) -> None:
        """Write the halves of what failed; a record that fails alone is rejected as internal_error."""
        records = count(spans)
        if records == 0:
            raise error
        if records == 1:
            (span,) = (span for span in spans if span.records)
            log.error("record-failed", partition=str(span.partition), offset=span.records[0].offset, exc_info=error)
            await self._commit(tally.internal_error(span, error))
            return
        for half in halves(spans):
            await self._write(tally.batch(half, self._weeks), half)

    async def _commit(self, batch: Batch) -> None:
        """One transaction; how long it took decides how large the next ones are."""
        began = perf_counter()
        try:
            written = await self._store.write(batch)
        except Exception as error:
            if is_transient(error) and perf_counter() - began >= _SLOW:
                self._size.too_slow(sum(claim.records for claim in batch.claims))
                log.warning("batch-too-slow", limit=self._size.limit)
            raise
        self._size.committed(written.outcomes.total(), perf_counter() - began < _SLOW / 2)
        self._reader.written(batch.claims)
        self._show(written)

    def _show(self, written: Written) -> None:
        for (topic, outcome), number in written.outcomes.items():
            metrics.AGGREGATOR_RECORDS.labels(topic, outcome).inc(number)
        records = written.outcomes.total()
        if records:
            metrics.BATCH_RECORDS.observe(records)
        for partition, reason in written.halted.items():
            log.error("partition-halted", partition=str(partition), reason=reason)
        self._reader.lose(written.halted)

    def _drop(self, spans: Sequence[Span]) -> None:
        """Forget the partitions of a batch that was fenced, and of the one that was decoded behind it."""
        self._reader.lose(span.partition for span in spans)
        if self._ahead is not None:
            self._reader.lose(span.partition for span in self._ahead.spans)
            del self._in_flight[self._ahead.number]
            self._ahead = None
