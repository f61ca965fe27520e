"""One aggregator process: combines leases, reading and writing into sessions.

All durable state is in PostgreSQL. A session ends when a connection breaks or the outcome of a write is unknown. The
decoded batches are dropped, and the next session loads positions and epochs again.

A session has three tasks. One writes batches. One sends heartbeats and renews the leases; it waits only for PostgreSQL.
One starts to read leased partitions and inspects the log; it may wait for batches and for Kafka.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from schemas.log import Partition, Vector
from schemas.topics import EVENT_TOPICS
from schemas.week import WeekIndex
from services.aggregator.batch_size import BatchSize
from services.aggregator.lag import LagReporter
from services.aggregator.lease_manager import LeaseManager
from services.aggregator.leases import EXPIRY, HEARTBEAT
from services.aggregator.log_inspector import LogInspector
from services.aggregator.reader import Consumer, Reader
from services.aggregator.spans import Record, Span
from services.aggregator.store import Store
from services.aggregator.writer import Writer
from services.runtime import calendar, metrics, postgres
from services.runtime.kafka import topic_partition
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

PARTITIONS = tuple(Partition(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions))
"""The partitions that the topics are created with. A session also reads partitions that were added later."""
MAX_RECORDS = 5_000
"""Maximum number of records in a delivery, and in a batch."""

ABSENT_CHECKS = 10
"""Consecutive checks, one a second, that must miss a leased partition before it is halted: broker metadata lags."""

_INSPECT_SECONDS = 1.0
_START_SECONDS = 0.05
_CLOSE_SECONDS = 2.0
"""Timeout for closing each connection at the end of a session. The server may be unreachable."""


class PartitionsAddedError(Exception):
    """Partitions were added to a topic. The session ends; the next session reads them too."""


@dataclass(slots=True)
class _Session:
    """The state of one session. Nothing is carried over to the next."""

    lease_manager: LeaseManager
    reader: Reader
    writer: Writer
    inspector: LogInspector
    lag: LagReporter
    partitions: Set[Partition] = frozenset(PARTITIONS)
    epochs: dict[Partition, int] = field(default_factory=dict)
    unread: dict[Partition, int] = field(default_factory=dict)
    """The next offset of each partition that was below the log's end at the last inspection."""
    absent: dict[Partition, int] = field(default_factory=dict)
    """Leased partitions that did not exist when the session began: the number of consecutive checks that missed it."""


class Worker:
    """Run `session` under a supervisor. Call `take` with each delivery, one at a time and in order."""

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
        """Pass one delivery to the writer. Without a session it is dropped; Kafka delivers it again.

        Never raises, because FastStream would continue with the next delivery. An error here ends the session.
        """
        session = self._session
        if session is None:
            return
        try:
            spans = [span for span in session.reader.spans(records) if await self._is_complete(session, span)]
            if spans:
                await session.writer.put(spans)
        except Exception as error:
            await session.writer.fail(error)

    async def _is_complete(self, session: _Session, span: Span) -> bool:
        """Whether no record is missing before the first. A gap is accepted only if the log has the same gap.

        A consumer whose offset is no longer in the log silently resets to the log's end.
        """
        first = span.records[0].offset
        if first == span.start or await session.inspector.first_offset(span.partition, span.start) == first:
            return True
        log.warning("records-missing", partition=str(span.partition), position=span.start, delivered=first)
        session.reader.stop([span.partition])
        return False

    @property
    def problem(self) -> str | None:
        """A missing right that does not end the session."""
        return self._session.lag.problem if self._session is not None else None

    async def session(self, up: Callable[[], None]) -> None:
        """Connect, claim the name, then send heartbeats, read and write until an error ends the session."""
        async with AsyncExitStack() as stack:
            session = await self._open(stack)
            stack.push_async_callback(self._close, session)
            self._session = session
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(session.writer.run(), name="writer")
                tasks.create_task(self._renew_leases(session, up), name="leases")
                tasks.create_task(self._follow_leases(session), name="partitions")

    async def _open(self, stack: AsyncExitStack) -> _Session:
        name = self._settings.worker_name
        inspector = LogInspector(self._client)
        stack.push_async_callback(_close_quietly, inspector.stop)
        await inspector.start()
        partitions = await inspector.partitions()
        lag = LagReporter(self._client, partitions)
        stack.push_async_callback(_close_quietly, lag.stop)
        await lag.start()
        # Start FastStream's broker only after Kafka has responded: it does not close its clients if it fails to start.
        consumer = await self._consumer()
        if partitions != self._assigned:
            consumer.assign(list(map(topic_partition, partitions)))
            self._assigned = partitions
        consumer.pause(*map(topic_partition, partitions))
        # A worker that cannot reach the leader of every partition acquires no lease; another worker may reach them.
        await inspector.ends(partitions)
        lease_connection = await postgres.connect(self._settings, "ddor-aggregator-lease")
        stack.push_async_callback(_close_quietly, lease_connection.close)
        await calendar.keep(lease_connection, self._settings.calendar)
        write_connection = await postgres.connect(self._settings, "ddor-aggregator-writer")
        stack.push_async_callback(_close_quietly, write_connection.close)
        store = Store(write_connection, name)
        await store.prepare()
        lease_manager = LeaseManager(lease_connection, name)
        await lease_manager.claim_name()
        await lease_manager.add_partitions(partitions)
        reader = Reader(consumer)
        writer = Writer(store, reader, self._weeks, self._size)
        return _Session(lease_manager, reader, writer, inspector, lag, partitions)

    async def _close(self, session: _Session) -> None:
        """Stop reading at once; release the leases if PostgreSQL is reachable."""
        self._session = None
        metrics.UNREAD.set(0)  # the next owner of the leases reports the unread partitions
        session.reader.stop_all()
        await session.writer.close()
        await _close_quietly(session.lease_manager.sign_off)  # if this fails, the leases expire

    async def _renew_leases(self, session: _Session, up: Callable[[], None]) -> None:
        """Send heartbeats. If none succeeds within the expiry, the leases may be lost and the session ends."""
        while True:
            async with asyncio.timeout(EXPIRY.total_seconds()):
                session.epochs = await session.lease_manager.renew(session.writer.busy)
            reader = session.reader
            reader.stop([one for one in reader.next_offsets if reader.epoch(one) != session.epochs.get(one)])
            up()
            await asyncio.sleep(HEARTBEAT.total_seconds())

    async def _follow_leases(self, session: _Session) -> None:
        clock = asyncio.get_running_loop().time
        inspected_at = clock()
        while True:
            if (session.epochs.keys() & session.partitions) - session.reader.next_offsets.keys():
                await self._start_reading(session)
            leased = session.epochs.keys() | session.lease_manager.halted.keys()
            metrics.UNREAD.set(len(leased - session.reader.next_offsets.keys()))
            if clock() - inspected_at >= _INSPECT_SECONDS:
                inspected_at = clock()
                await self._inspect_log(session)
            await asyncio.sleep(_START_SECONDS)

    async def _start_reading(self, session: _Session) -> None:
        """Start to read the leased partitions that are not being read yet, after the writer has drained."""
        await session.writer.drained()
        leases = await session.lease_manager.leases()
        reading = session.reader.next_offsets
        wanted = {one for one in leases if leases[one].epoch == session.epochs.get(one)} - reading.keys()
        new = {one: leases[one] for one in sorted(wanted & session.partitions) if leases[one].halted is None}
        reasons = await session.inspector.lost([lease.checkpoint for lease in new.values()])
        for partition, lease in new.items():
            if reason := reasons.get(partition):
                await self._halt(session, partition, lease.epoch, f"PositionLost: {reason}")
            else:
                session.reader.start(lease)
        if new:
            log.info("leases-acquired", partitions=[str(partition) for partition in new])

    async def _halt(self, session: _Session, partition: Partition, epoch: int, reason: str) -> None:
        log.error("partition-halted", partition=str(partition), reason=reason)
        await session.lease_manager.halt(partition, epoch, reason)
        session.epochs.pop(partition, None)

    async def _halt_absent(self, session: _Session) -> None:
        """Halt leased partitions that do not exist: the topic was recreated with fewer partitions.

        Called after a check that found no added partition. Another worker may have seen an added partition first, so
        that this worker leases it while its broker's metadata is still old. One check is therefore not enough.
        """
        leased = {one: epoch for one, epoch in session.epochs.items() if one not in session.partitions}
        session.absent = {one: session.absent.get(one, 0) + 1 for one in leased}
        for partition in [one for one, checks in session.absent.items() if checks >= ABSENT_CHECKS]:
            del session.absent[partition]
            reason = "PositionLost: the topic has no such partition"
            await self._halt(session, partition, leased[partition], reason)

    async def _inspect_log(self, session: _Session) -> None:
        """Report the lag, detect added and absent partitions, and skip gaps at the log's end."""
        _check_added(session, await session.inspector.partitions())
        await self._halt_absent(session)
        positions = session.reader.next_offsets
        not_read = session.partitions - positions.keys()
        halted = {one: position for one, position in session.lease_manager.halted.items() if one in not_read}
        high, ends = await _ends(session, positions.keys() | halted.keys())
        # A log that ends below the position was replaced: stop here; `_start_reading` checks it again and halts it.
        session.reader.stop([partition for partition, offset in positions.items() if ends[partition] < offset])
        await session.lag.report(Vector(halted | dict(session.reader.positions)), ends, high)
        unread = {partition: offset for partition, offset in positions.items() if ends[partition] > offset}
        unchanged = [partition for partition, offset in unread.items() if session.unread.get(partition) == offset]
        session.unread = unread
        for partition in unchanged:
            await self._skip_gap(session, partition, unread[partition])

    async def _skip_gap(self, session: _Session, partition: Partition, start: int) -> None:
        """Advance over transaction markers at the log's end, for which Kafka delivers no record."""
        end = await session.inspector.gap_end(partition, start)
        span = session.reader.skip(partition, start, end) if end is not None else None
        if span is not None:
            await session.writer.put([span])


async def _ends(session: _Session, partitions: Set[Partition]) -> tuple[Vector, Vector]:
    """The high watermarks, then the last stable offsets."""
    if not partitions:
        return Vector(), Vector()
    high = await session.lag.high_watermarks(partitions)
    return high, await session.inspector.ends(partitions)


def _check_added(session: _Session, found: Set[Partition]) -> None:
    if added := sorted(found - session.partitions):
        log.info("partitions-added", partitions=[str(partition) for partition in added])
        raise PartitionsAddedError(f"{len(added)} partitions were added")


async def _close_quietly(close: Callable[[], Awaitable[None]]) -> None:
    """Close with a timeout, and log an error instead of raising it: the server may be unreachable."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await close()
    except Exception as error:
        log.info("close-failed", error=type(error).__name__)
