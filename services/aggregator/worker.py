"""One aggregator process: leases, reading and writing, put together.

Everything that a session knows is in PostgreSQL. When a write is not known to be committed, or a connection breaks,
the session ends: what was decoded is dropped, and the next session reads positions and epochs anew.

Three tasks: one writes batches; one heartbeats and keeps the leases, and waits for nothing but PostgreSQL's answer;
one gains partitions and looks at the log, and may wait for batches and for Kafka.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from schemas.topics import EVENT_TOPICS
from schemas.week import WeekIndex
from services.aggregator.lag import LagView
from services.aggregator.leases import EXPIRY, HEARTBEAT, Partition
from services.aggregator.log import Log, theirs
from services.aggregator.reader import Consumer, Reader
from services.aggregator.sizing import BatchSize
from services.aggregator.spans import Record, Span
from services.aggregator.store import Store
from services.aggregator.tenancy import Tenancy
from services.aggregator.writer import Writer
from services.runtime import calendar, metrics, postgres
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

PARTITIONS = tuple(Partition(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions))
"""The partitions that the topics are made with; a session reads those that were added too."""
MAX_RECORDS = 5_000
"""The most records of a delivery, and of a batch."""

ABSENT_LOOKS = 10
"""So many looks at Kafka, a second apart, must miss a partition that was read before: a broker hears late of others."""

_SHOW_EVERY = 1.0
_LOOK_EVERY = 0.05
_CLOSING = 2.0
"""Seconds that the end of a session gives each server that may be gone."""


class PartitionsAddedError(Exception):
    """A topic has more partitions than when the session began: the next one reads them too."""


@dataclass(slots=True)
class _Session:
    """What one session holds; all of it is made anew for the next."""

    tenancy: Tenancy
    reader: Reader
    writer: Writer
    log: Log
    lag: LagView
    partitions: Set[Partition] = frozenset(PARTITIONS)
    epochs: dict[Partition, int] = field(default_factory=dict)
    behind: dict[Partition, int] = field(default_factory=dict)
    absent: dict[Partition, int] = field(default_factory=dict)
    """How many looks in a row have missed a leased partition that was not there when the session began."""


class Worker:
    """Run `session` under a supervisor; call `take` with each delivery, one at a time and in order."""

    def __init__(
        self, settings: Settings, client: Mapping[str, Any], consumer: Callable[[], Awaitable[Consumer]]
    ) -> None:
        self._settings = settings
        self._client = client
        self._consumer = consumer
        self._weeks = WeekIndex(settings.calendar)
        self._size = BatchSize(MAX_RECORDS)
        self._session: _Session | None = None
        self._assigned: Set[Partition] = frozenset(PARTITIONS)

    async def take(self, records: Sequence[Record]) -> None:
        """Decode one delivery and hand it to the writer; without a session it is dropped and will come again.

        Never raises: the stream would go on with the next delivery. What fails here ends the session.
        """
        session = self._session
        if session is None:
            return
        try:
            spans = [span for span in session.reader.spans(records) if await self._is_whole(session, span)]
            if spans:
                await session.writer.put(spans)
        except Exception as error:
            await session.writer.fail(error)

    async def _is_whole(self, session: _Session, span: Span) -> bool:
        """Whether nothing is missing before the first record: a gap is believed when the log shows it too.

        A consumer whose offset the log no longer has begins again at the log's end without a word.
        """
        first = span.records[0].offset
        if first == span.start or await session.log.begins_at(span.partition, span.start) == first:
            return True
        log.warning("records-missing", partition=str(span.partition), position=span.start, delivered=first)
        session.reader.lose([span.partition])
        return False

    async def session(self, up: Callable[[], None]) -> None:
        """Connect, claim the name, then heartbeat, read and write until something fails."""
        async with AsyncExitStack() as stack:
            session = await self._open(stack)
            stack.push_async_callback(self._close, session)
            self._session = session
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(session.writer.run(), name="writer")
                tasks.create_task(self._keep_leases(session, up), name="leases")
                tasks.create_task(self._follow_leases(session), name="partitions")

    async def _open(self, stack: AsyncExitStack) -> _Session:
        name = self._settings.worker_name
        looking = Log(self._client)
        stack.push_async_callback(_end, looking.stop)
        await looking.start()
        partitions = await looking.partitions()
        lag = LagView(self._client, partitions)
        stack.push_async_callback(_end, lag.stop)
        await lag.start()
        # FastStream's broker starts only once Kafka has answered: one that fails to start is not closed again.
        consumer = await self._consumer()
        if partitions != self._assigned:
            consumer.assign(list(map(theirs, partitions)))
            self._assigned = partitions
        consumer.pause(*map(theirs, partitions))
        # Whoever cannot read every partition takes none: others may be able to.
        await looking.ends(partitions)
        leasing = await postgres.connect(self._settings, "ddor-aggregator-lease")
        stack.push_async_callback(_end, leasing.close)
        await calendar.keep(leasing, self._settings.calendar)
        writing = await postgres.connect(self._settings, "ddor-aggregator-writer")
        stack.push_async_callback(_end, writing.close)
        store = Store(writing, name)
        await store.prepare()
        tenancy = Tenancy(leasing, name)
        await tenancy.claim_name()
        await tenancy.add_partitions(partitions)
        reader = Reader(consumer)
        return _Session(tenancy, reader, Writer(store, reader, self._weeks, self._size), looking, lag, partitions)

    async def _close(self, session: _Session) -> None:
        """Stop reading at once; give the leases back if PostgreSQL still listens."""
        self._session = None
        metrics.UNREAD.set(0)  # without a lease, whoever takes it shows what stands still
        session.reader.lose_all()
        await session.writer.close()
        await _end(session.tenancy.sign_off)  # else the leases expire by themselves

    async def _keep_leases(self, session: _Session, up: Callable[[], None]) -> None:
        """Heartbeat. Whoever has not for as long as a lease lives has lost them all, and knows it."""
        while True:
            async with asyncio.timeout(EXPIRY.total_seconds()):
                session.epochs = await session.tenancy.round(session.writer.busy)
            reader = session.reader
            reader.lose([one for one in reader.next_offsets if reader.epoch(one) != session.epochs.get(one)])
            up()
            await asyncio.sleep(HEARTBEAT.total_seconds())

    async def _follow_leases(self, session: _Session) -> None:
        clock = asyncio.get_running_loop().time
        shown_at = clock()
        while True:
            if (session.epochs.keys() & session.partitions) - session.reader.next_offsets.keys():
                await self._gain(session)
            leased = session.epochs.keys() | session.tenancy.halted.keys()
            metrics.UNREAD.set(len(leased - session.reader.next_offsets.keys()))
            if clock() - shown_at >= _SHOW_EVERY:
                shown_at = clock()
                await self._look_ahead(session)
            await asyncio.sleep(_LOOK_EVERY)

    async def _gain(self, session: _Session) -> None:
        """Begin to read what is leased and not yet read, once all that was decoded is written or dropped."""
        await session.writer.settled()
        leases = await session.tenancy.held()
        reading = session.reader.next_offsets
        wanted = {one for one in leases if leases[one].epoch == session.epochs.get(one)} - reading.keys()
        new = {one: leases[one] for one in sorted(wanted & session.partitions) if leases[one].halted is None}
        reasons = await session.log.lost([lease.position for lease in new.values()])
        for partition, lease in new.items():
            if reason := reasons.get(partition):
                await self._halt(session, partition, lease.epoch, f"PositionLost: {reason}")
            else:
                session.reader.gain(lease)
        if new:
            log.info("leases-gained", partitions=[str(partition) for partition in new])

    async def _halt(self, session: _Session, partition: Partition, epoch: int, reason: str) -> None:
        log.error("partition-halted", partition=str(partition), reason=reason)
        await session.tenancy.halt(partition, epoch, reason)
        session.epochs.pop(partition, None)

    async def _halt_absent(self, session: _Session) -> None:
        """Halt what is leased and Kafka does not have: the topic was made anew with fewer partitions.

        Called behind a look that found none added. Another worker may have seen an added partition first, and this one
        be given it and ask a broker that has not heard of it: such a look is not believed at once.
        """
        leased = {one: epoch for one, epoch in session.epochs.items() if one not in session.partitions}
        session.absent = {one: session.absent.get(one, 0) + 1 for one in leased}
        for partition in [one for one, looks in session.absent.items() if looks >= ABSENT_LOOKS]:
            del session.absent[partition]
            reason = "PositionLost: the topic has no such partition"
            await self._halt(session, partition, leased[partition], reason)

    async def _look_ahead(self, session: _Session) -> None:
        """Show the lag, see added partitions, step over a gap at the log's end that will never deliver a record."""
        _check_known(session, await session.log.partitions())
        await self._halt_absent(session)
        positions = session.reader.next_offsets
        there = session.partitions - positions.keys()
        halted = {one: at for one, at in session.tenancy.halted.items() if one in there}
        ends = await session.log.ends(positions.keys() | halted.keys()) if positions or halted else {}
        # A log that ends before what was read from it: lost here, checked when it is gained again, and halted.
        session.reader.lose([partition for partition, at in positions.items() if ends[partition] < at])
        await session.lag.show(halted | session.reader.positions, ends)
        behind = {partition: at for partition, at in positions.items() if ends[partition] > at}
        still = {partition for partition, at in behind.items() if session.behind.get(partition) == at}
        session.behind = behind
        for partition in still:
            start = behind[partition]
            end = await session.log.gap_end(partition, start)
            span = session.reader.skip(partition, start, end) if end is not None else None
            if span is not None:
                await session.writer.put([span])


def _check_known(session: _Session, seen: Set[Partition]) -> None:
    if added := sorted(seen - session.partitions):
        log.info("partitions-added", partitions=[str(partition) for partition in added])
        raise PartitionsAddedError(f"{len(added)} partitions were added")


async def _end(end: Callable[[], Awaitable[None]]) -> None:
    """Wait a little for an orderly end; a server that is gone needs none."""
    try:
        async with asyncio.timeout(_CLOSING):
            await end()
    except Exception as error:
        log.info("not-ended-in-order", error=type(error).__name__)
