"""Writing batches strictly in order, one ahead: while PostgreSQL works on one, the next is decoded.

A batch is written, or not, or it is not known. In the last two cases everything decoded is dropped, and the partitions
are read again from where PostgreSQL says they are. Nothing is ever sent a second time on the strength of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from schemas.week import ReportingCalendar, WeekIndex
from services.aggregator import tally
from services.aggregator.reader import Reader
from services.aggregator.store import Fenced, Store, Written
from services.aggregator.tally import Batch, Span
from services.runtime import metrics
from services.runtime.errors import is_transient
from services.runtime.logs import get

log = get(__name__)


class Writer:
    """The one task that writes. One session's: when it fails, a new reader and a new writer begin."""

    def __init__(self, store: Store, reader: Reader, calendar: ReportingCalendar) -> None:
        self._store = store
        self._reader = reader
        self._weeks = WeekIndex(calendar)
        self._ahead: tuple[Batch, list[Span]] | None = None
        self._taken = 0
        self._finished = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, spans: list[Span]) -> None:
        """Decode spans and hand them on; waits while one decoded batch is waiting already."""
        self._taken += 1
        batch = tally.batch(spans, self._weeks)
        async with self._changed:
            await self._changed.wait_for(lambda: self._ahead is None or self._closed)
            if self._closed:
                return
            self._ahead = (batch, spans)
            self._changed.notify_all()

    async def settled(self) -> None:
        """Return once all that was taken until now is written or dropped: then PostgreSQL's positions say it all."""
        taken = self._taken
        async with self._changed:
            await self._changed.wait_for(lambda: self._finished >= taken)

    async def close(self) -> None:
        """Let go of whoever waits in `put`; what was decoded is dropped."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def run(self) -> None:
        """Write until something fails; the failure is raised, and the session must end with it."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._ahead is not None)
                assert self._ahead is not None
                batch, spans = self._ahead
                self._ahead = None
                self._changed.notify_all()
            began = perf_counter()
            try:
                await self._write(batch, spans)
            except Fenced as fenced:
                log.info("batch-fenced", partition=str(fenced))
                self._drop(spans)
            metrics.BATCH_SECONDS.observe(perf_counter() - began)
            async with self._changed:
                self._finished += 1
                self._changed.notify_all()

    async def _write(self, batch: Batch, spans: list[Span]) -> None:
        try:
            self._count(await self._store.write(batch))
        except Fenced:
            raise
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("batch-failed", records=sum(len(span.records) for span in spans))
            await self._bisect(spans, error)

    async def _bisect(self, spans: list[Span], error: Exception) -> None:
        """Write the halves of what failed; a record that fails alone is rejected as internal_error."""
        records = sum(len(span.records) for span in spans)
        if records == 0:
            raise error
        if records == 1:
            (span,) = (span for span in spans if span.records)
            batch = tally.internal_error(span, error)
            log.error("record-failed", partition=str(span.partition), offset=span.records[0].offset)
            self._count(await self._store.write(batch))
            return
        for half in _halves(spans):
            await self._write(tally.batch(half, self._weeks), half)

    def _count(self, written: Written) -> None:
        for (topic, outcome), count in written.outcomes.items():
            metrics.AGGREGATOR_RECORDS.labels(topic, outcome).inc(count)
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
            self._reader.lose(span.partition for span in self._ahead[1])
            self._ahead = None
            self._finished += 1


def _halves(spans: list[Span]) -> tuple[list[Span], list[Span]]:
    """Two parts of about the same number of records; each partition's records stay in order."""
    if len(spans) > 1:
        middle = len(spans) // 2
        return spans[:middle], spans[middle:]
    (span,) = spans
    middle = len(span.records) // 2
    cut = span.records[middle].offset
    first = span._replace(end=cut, records=span.records[:middle])
    return [first], [span._replace(start=cut, records=span.records[middle:])]
