"""One aggregator process: leases, reading and writing, put together.

Everything that a session knows is in PostgreSQL. When a write is not known to be committed, or a connection breaks,
the session ends: what was decoded is dropped, and the next session reads positions and epochs anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from schemas.topics import EVENT_TOPICS
from services.aggregator.lag import LagView
from services.aggregator.leases import HEARTBEAT, Partition
from services.aggregator.log import Log, theirs
from services.aggregator.reader import Consumer, Reader
from services.aggregator.store import Store
from services.aggregator.tally import Record
from services.aggregator.tenancy import Lease, Tenancy
from services.aggregator.writer import Writer
from services.runtime import postgres
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

PARTITIONS = tuple(Partition(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions))
_SHOW_EVERY = 1.0


@dataclass(slots=True)
class _Session:
    """What one session holds; all of it is made anew for the next."""

    tenancy: Tenancy
    reader: Reader
    writer: Writer
    log: Log
    lag: LagView
    shown_at: float = 0.0
    behind: dict[Partition, int] = field(default_factory=dict)


class Worker:
    """Run `session` under a supervisor; call `take` with each delivery, one at a time and in order."""

    def __init__(
        self, settings: Settings, client: Mapping[str, Any], consumer: Callable[[], Awaitable[Consumer]]
    ) -> None:
        self._settings = settings
        self._client = client
        self._consumer = consumer
        self._session: _Session | None = None

    async def take(self, records: Sequence[Record]) -> None:
        """Decode one delivery and hand it to the writer; without a session it is dropped and will come again."""
        session = self._session
        if session is not None:
            spans = session.reader.spans(records)
            if spans:
                await session.writer.put(spans)

    async def session(self, up: Callable[[], None]) -> None:
        """Connect, claim the name, then heartbeat, read and write until something fails."""
        consumer = await self._consumer()
        async with AsyncExitStack() as stack:
            session = await self._open(stack, consumer)
            stack.push_async_callback(self._close, session)
            self._session = session
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(session.writer.run(), name="writer")
                tasks.create_task(self._follow_leases(session, up), name="leases")

    async def _open(self, stack: AsyncExitStack, consumer: Consumer) -> _Session:
        name = self._settings.worker_name
        looking = Log(self._client)
        await looking.start()
        stack.push_async_callback(looking.stop)
        lag = LagView(self._client, PARTITIONS)
        await lag.start()
        stack.push_async_callback(lag.stop)
        leasing = await postgres.connect(self._settings, "ddor-aggregator-lease")
        stack.push_async_callback(leasing.close, timeout=2)
        writing = await postgres.connect(self._settings, "ddor-aggregator-writer")
        stack.push_async_callback(writing.close, timeout=2)
        store = Store(writing, name)
        await store.prepare()
        tenancy = Tenancy(leasing, name)
        await tenancy.claim_name()
        await tenancy.add_partitions(PARTITIONS)
        consumer.pause(*map(theirs, PARTITIONS))
        reader = Reader(consumer)
        return _Session(tenancy, reader, Writer(store, reader, self._settings.calendar), looking, lag)

    async def _close(self, session: _Session) -> None:
        """Stop reading at once; give the leases back if PostgreSQL still listens."""
        self._session = None
        session.reader.lose_all()
        await session.writer.close()
        try:
            async with asyncio.timeout(2):
                await session.tenancy.sign_off()
        except Exception as error:  # the leases expire by themselves
            log.warning("leases-not-returned", error=type(error).__name__)

    async def _follow_leases(self, session: _Session, up: Callable[[], None]) -> None:
        while True:
            await self._round(session)
            up()
            await asyncio.sleep(HEARTBEAT.total_seconds())

    async def _round(self, session: _Session) -> None:
        reader = session.reader
        epochs = await session.tenancy.round()
        reader.lose([one for one in reader.next_offsets if reader.epoch(one) != epochs.get(one)])
        if epochs.keys() - reader.next_offsets.keys():
            await self._gain(session)
        now = asyncio.get_running_loop().time()
        if now - session.shown_at >= _SHOW_EVERY:
            session.shown_at = now
            await self._look_ahead(session)

    async def _gain(self, session: _Session) -> None:
        """Begin to read what is leased and not yet read, once all that was decoded is written or dropped."""
        await session.writer.settled()
        leases = await session.tenancy.held()
        reading = session.reader.next_offsets
        new = {p: lease for p, lease in leases.items() if lease.halted is None and p not in reading}
        reasons = await session.log.lost([lease.position for lease in new.values()])
        for partition, lease in new.items():
            if reason := reasons.get(partition):
                await self._halt(session, lease, f"PositionLost: {reason}")
            else:
                session.reader.gain(lease)
        if new:
            log.info("leases-gained", partitions=[str(partition) for partition in new])

    async def _halt(self, session: _Session, lease: Lease, reason: str) -> None:
        log.error("partition-halted", partition=str(lease.position.partition), reason=reason)
        await session.tenancy.halt(lease.position.partition, lease.epoch, reason)

    async def _look_ahead(self, session: _Session) -> None:
        """Show the lag, and step over a gap at the log's end that will never deliver a record."""
        positions = session.reader.next_offsets
        ends = await session.log.ends(positions) if positions else {}
        # A log that ends before what was read from it: lost here, checked when it is gained again, and halted.
        session.reader.lose([partition for partition, at in positions.items() if ends[partition] < at])
        await session.lag.show(positions, ends)
        behind = {partition: at for partition, at in positions.items() if ends[partition] > at}
        still = {partition for partition, at in behind.items() if session.behind.get(partition) == at}
        session.behind = behind
        for partition in still:
            start = behind[partition]
            end = await session.log.gap_end(partition, start)
            span = session.reader.skip(partition, start, end) if end is not None else None
            if span is not None:
                await session.writer.put([span])
