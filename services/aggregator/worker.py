"""One aggregator process: leases, reading and writing, put together.

Everything that a session knows is in PostgreSQL. When a write is not known to be committed, or a connection breaks,
the session ends: what was decoded is dropped, and the next session reads positions and epochs anew. Nothing is ever
sent again on the strength of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from schemas.topics import EVENT_TOPICS
from services.aggregator import tally
from services.aggregator.lag import LagView
from services.aggregator.leases import HEARTBEAT, Partition
from services.aggregator.log import Log, theirs
from services.aggregator.reader import Consumer, Reader
from services.aggregator.store import Fenced, Store
from services.aggregator.tally import Batch, Claim, Record
from services.aggregator.tenancy import Lease, Tenancy
from services.runtime import metrics, postgres
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

PARTITIONS = tuple(Partition(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions))
_SHOW_EVERY = 1.0


@dataclass(slots=True)
class _Session:
    tenancy: Tenancy
    store: Store
    log: Log
    lag: LagView
    failed: asyncio.Future[None]
    shown_at: float = 0.0
    behind: dict[Partition, int] = field(default_factory=dict)


class Worker:
    """Call `session` under a supervisor and `write` with each delivery, one at a time and in order."""

    def __init__(
        self, settings: Settings, client: Mapping[str, Any], consumer: Callable[[], Awaitable[Consumer]]
    ) -> None:
        self._settings = settings
        self._client = client
        self._consumer = consumer
        self._reader: Reader | None = None
        self._session: _Session | None = None
        self._writing = asyncio.Lock()

    async def session(self, up: Callable[[], None]) -> None:
        """Connect, claim the name, then heartbeat until something fails."""
        async with AsyncExitStack() as stack:
            session = await self._open(stack)
            consumer = await self._consumer()
            reader = Reader(consumer)
            consumer.pause(*map(theirs, PARTITIONS))
            self._reader, self._session = reader, session
            stack.push_async_callback(self._close, session, reader)
            while True:
                await self._round(session, reader)
                up()
                done, _ = await asyncio.wait({session.failed}, timeout=HEARTBEAT.total_seconds())
                if done:
                    session.failed.result()

    async def _open(self, stack: AsyncExitStack) -> _Session:
        looking = Log(self._client)
        stack.push_async_callback(looking.stop)
        await looking.start()
        lag = LagView(self._client, PARTITIONS)
        stack.push_async_callback(lag.stop)
        await lag.start()
        leasing = await postgres.connect(self._settings, "ddor-aggregator-lease")
        stack.push_async_callback(leasing.close, timeout=2)
        writing = await postgres.connect(self._settings, "ddor-aggregator-writer")
        stack.push_async_callback(writing.close, timeout=2)
        store = Store(writing, self._settings.worker_name)
        await store.prepare()
        tenancy = Tenancy(leasing, self._settings.worker_name)
        await tenancy.claim_name()
        await tenancy.add_partitions(PARTITIONS)
        return _Session(tenancy, store, looking, lag, asyncio.get_running_loop().create_future())

    async def _close(self, session: _Session, reader: Reader) -> None:
        """Stop reading at once; give the leases back if PostgreSQL still listens."""
        self._reader = self._session = None
        session.failed.cancel()
        reader.lose(tuple(reader.next_offsets))
        async with self._writing:
            try:
                async with asyncio.timeout(2):
                    await session.tenancy.sign_off()
            except Exception as error:  # the leases expire by themselves
                log.warning("leases-not-returned", error=type(error).__name__)

    async def _round(self, session: _Session, reader: Reader) -> None:
        epochs = await session.tenancy.round()
        lost = {one for one in reader.next_offsets if reader.epoch(one) != epochs.get(one)}
        reader.lose(lost)
        if epochs.keys() - reader.next_offsets.keys():
            async with self._writing:
                await self._gain(session, reader)
        metrics.UNREAD.set(len(epochs.keys() - reader.next_offsets.keys()))
        now = asyncio.get_running_loop().time()
        if now - session.shown_at >= _SHOW_EVERY:
            session.shown_at = now
            await self._look_ahead(session, reader)

    async def _gain(self, session: _Session, reader: Reader) -> None:
        """Begin to read what is leased and not yet read; no batch is being written meanwhile."""
        leases = await session.tenancy.held()
        new = {p: lease for p, lease in leases.items() if lease.halted is None and p not in reader.next_offsets}
        reasons = await session.log.lost([lease.position for lease in new.values()])
        for partition, lease in new.items():
            if reason := reasons.get(partition):
                await self._halt(session, lease, f"PositionLost: {reason}")
            else:
                reader.gain(lease)
        if new:
            log.info("leases-gained", partitions=[str(partition) for partition in new])

    async def _halt(self, session: _Session, lease: Lease, reason: str) -> None:
        log.error("partition-halted", partition=str(lease.position.partition), reason=reason)
        await session.tenancy.halt(lease.position.partition, lease.epoch, reason)

    async def _look_ahead(self, session: _Session, reader: Reader) -> None:
        """Show the lag, and step over a gap at the log's end that will never deliver a record."""
        positions = reader.next_offsets
        ends = await session.log.ends(positions) if positions else {}
        # A log that ends before what was read from it: lost here, checked when it is gained again, and halted.
        reader.lose([partition for partition, at in positions.items() if ends[partition] < at])
        await session.lag.show(positions, ends)
        behind = {partition: at for partition, at in positions.items() if ends[partition] > at}
        still = {partition for partition, at in behind.items() if session.behind.get(partition) == at}
        session.behind = behind
        for partition in still:
            start = behind[partition]
            end = await session.log.gap_end(partition, start)
            async with self._writing:
                epoch = reader.epoch(partition)
                if end is not None and epoch is not None and reader.next_offsets.get(partition) == start:
                    await self._commit(session, reader, Batch((), (), (), (Claim(partition, epoch, start, end),)))

    async def write(self, records: Sequence[Record]) -> None:
        """Write one delivery. Never raises but for cancellation: a failure ends the session."""
        async with self._writing:
            session, reader = self._session, self._reader
            if session is None or reader is None:
                return
            spans = reader.spans(records)
            if not spans:
                return
            began = perf_counter()
            try:
                await self._commit(session, reader, tally.batch(spans, self._settings.calendar))
            except Fenced as fenced:
                log.info("batch-fenced", partition=str(fenced))
                reader.lose([partition for partition, *_ in spans])
            except Exception as error:  # nothing may escape a FastStream handler
                reader.lose(tuple(reader.next_offsets))
                if not session.failed.done():
                    session.failed.set_exception(error)
            else:
                metrics.BATCH_SECONDS.observe(perf_counter() - began)

    async def _commit(self, session: _Session, reader: Reader, batch: Batch) -> None:
        outcomes = await session.store.write(batch)
        reader.committed(batch.claims)
        records = sum(claim.records for claim in batch.claims)
        if records:
            metrics.BATCH_RECORDS.observe(records)
        for (topic, outcome), count in outcomes.items():
            metrics.AGGREGATOR_RECORDS.labels(topic, outcome).inc(count)
        for reject in batch.rejects:
            log.warning("record-rejected", partition=str(reject.partition), offset=reject.offset, reason=reject.reason)
