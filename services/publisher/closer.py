"""The publisher's loop: do the next step of the state machine, restate, send what is in the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from schemas.report import Report
from schemas.topics import EVENT_TOPICS
from services.publisher import closing, recovery
from services.publisher.closing import CaptureBarrier, Drain, Publish, State, Wait
from services.publisher.relay import Relay, show_age
from services.publisher.rules import Rules
from services.publisher.snapshot import SQL
from services.publisher.store import Store, states
from services.runtime import calendar, kafka, metrics, postgres
from services.runtime.clock import Clock
from services.runtime.errors import InvariantError
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

_TICK_SECONDS = 0.5
_BEAT_SECONDS = 2.0
_ASK_GATES_EVERY = timedelta(seconds=15)


class LogLostError(InvariantError):
    """The log ends before what was there: records are gone. See the runbook log-lost."""


class Closer:
    """One session of closing and sending. `rules` is asked anew for each report."""

    def __init__(
        self, settings: Settings, client: Mapping[str, Any], first_week: date, rules: Callable[[], Rules], clock: Clock
    ) -> None:
        self._settings = settings
        self._client = client
        self._first_week = first_week
        self._rules = rules
        self._clock = clock
        self._looked_at: datetime | None = None

    async def session(self, up: Callable[[], None]) -> None:
        """Wait for the lead, then step until something fails. One that waits is well: it serves reports."""
        async with AsyncExitStack() as stack:
            connection = await postgres.connect(self._settings, "ddor-publisher")
            stack.push_async_callback(connection.close, timeout=2)
            await calendar.keep(connection, self._settings.calendar)
            beating = await postgres.connect(self._settings, "ddor-publisher-heartbeat")
            stack.push_async_callback(beating.close, timeout=2)
            pid = await self._wait_for_lead(connection, up)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_beat(beating, pid), name="heartbeat")
                tasks.create_task(self._lead(connection, up), name="closing")

    async def _lead(self, connection: asyncpg.Connection[Any], up: Callable[[], None]) -> None:
        """Fence who led before, see that database and topic agree, then step and send."""
        async with AsyncExitStack() as stack:
            await show_age(connection, self._clock())
            relay = Relay(self._client, connection)
            stack.push_async_callback(relay.stop)
            await relay.start(self._clock())
            await recovery.check(connection, self._client)
            ends = EndOffsets(self._client)
            stack.push_async_callback(ends.stop)
            await ends.start()
            store = Store(connection, self._settings.calendar, self._settings.hold)
            while True:
                # First, so that what is written goes out even while the next week cannot be proven.
                await relay.run(self._clock())
                acted = await self.step(store, ends)
                up()
                if not acted:
                    await asyncio.sleep(_TICK_SECONDS)

    async def _wait_for_lead(self, connection: asyncpg.Connection[Any], up: Callable[[], None]) -> int:
        """Become the one publisher that closes, for as long as this session lives; end a leader that has stopped.

        Answers the number of this session, which the leader's row now names.
        """
        while not await connection.fetchval(SQL["try_lead"]):
            _show_nothing()
            up()
            leader = await connection.fetchrow(SQL["leader"])
            if leader is not None and leader["stale"]:
                log.warning("leader-cut-off")
                await connection.execute(SQL["end_session"], leader["backend_pid"])
            await asyncio.sleep(_TICK_SECONDS)
        pid: int = await connection.fetchval(SQL["claim_lead"])
        return pid

    async def step(self, store: Store, ends: EndOffsets) -> bool:
        """Do what is due; answers whether anything was done."""
        now, settings = self._clock(), self._settings
        closes = await store.closes()
        for state, weeks in states(closes).items():
            metrics.WEEK_STATE.labels(state).set(weeks)
        positions = await store.positions()
        known = closing.Known(settings.calendar, self._first_week, settings.grace, closes)
        metrics.WEEK_DUE.set(known.due.timestamp())
        since = closing.provisional_since(known, settings.provisional, now)
        step = closing.next_step(known, positions.vector, tuple(positions.halted), now)
        acted = False
        match step:
            case Wait():
                pass
            case CaptureBarrier(week):
                close, barrier = closes.get(week.first), await ends.read()
                if gone := closing.lost(positions.vector, barrier):
                    # A barrier below what was counted would prove nothing.
                    raise LogLostError(f"the log of {', '.join(gone)} ends before what was counted of it")
                await store.set_barrier(week.first, close.state if close else State.OPEN, barrier, now)
                log.info("barrier-captured", week=str(week))
                acted = True
            case Drain(week, behind):
                await self._check_log(store, week.first, closes[week.first], ends)
                log.debug("draining", week=str(week), partitions=len(behind))
            case Publish(week):
                acted = await self._publish(step, store, closes[week.first], since)
        restated = await store.restate_requested(self._rules, now)
        _say_written(restated)
        await store.finalise(now, since)
        metrics.REFUSED_RESTATEMENTS.set(len(await store.refused()))
        return acted or bool(restated)

    async def _publish(self, step: Publish, store: Store, close: closing.Close, since: datetime) -> bool:
        now = self._clock()
        if close.state is State.HELD and close.holds(now) and self._looked_lately(now):
            return False
        if close.state is State.HALTED:
            await store.move(step.week.first, State.HALTED, State.DRAINING, now)
            return True
        self._looked_at = now
        written = await store.publish(step.week, close, self._rules(), now, since)
        _say_written(written)
        return bool(written)

    def _looked_lately(self, now: datetime) -> bool:
        """The gates of a held week are not asked again at each step, for the proof reads the ledger."""
        return self._looked_at is not None and abs(now - self._looked_at) < _ASK_GATES_EVERY

    async def _check_log(self, store: Store, week: date, close: closing.Close, ends: EndOffsets) -> None:
        gone = closing.lost(close.barrier or {}, await ends.read())
        if gone and close.state in (State.DRAINING, State.HELD):
            log.error("log-lost", week=str(week), partitions=gone)
            await store.move(week, close.state, State.HALTED, self._clock(), why=f"LogLost: {', '.join(gone)}")
        elif not gone and close.state is State.HALTED:
            await store.move(week, State.HALTED, State.DRAINING, self._clock())


def _show_nothing() -> None:
    """What this process showed while it led is the leader's to show. One that only lost Kafka goes on showing it."""
    metrics.WEEK_STATE.clear()
    for gauge in (metrics.WEEK_DUE, metrics.OUTBOX_AGE, metrics.REFUSED_RESTATEMENTS):
        gauge.set(0)


class CutOffError(Exception):
    """Another publisher leads: this one did not show a sign of life for too long."""


async def _beat(connection: asyncpg.Connection[Any], pid: int) -> None:
    """Show that the leader lives, over a connection of its own: a proof of a large ledger may take minutes."""
    while True:
        if await connection.execute(SQL["heartbeat"], pid) != "UPDATE 1":
            raise CutOffError
        await asyncio.sleep(_BEAT_SECONDS)


def _say_written(reports: Iterable[Report]) -> None:
    for one in reports:
        log.info("report-written", week=str(one.week_start), revision=one.revision, digest=one.digest)


class EndOffsets:
    """Where each partition of the event topics ends now, also of those that were added a moment ago."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._consumer = AIOKafkaConsumer(**client, enable_auto_commit=False)

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers."""
        await kafka.start(self._consumer.start)

    async def stop(self) -> None:
        """Close the connection."""
        await kafka.stop(self._consumer)

    async def read(self) -> dict[str, dict[str, int]]:
        """The next offset of each partition, by topic and partition."""
        partitions = await kafka.partitions(self._consumer, EVENT_TOPICS)
        found = await self._consumer.end_offsets(partitions)
        ends: dict[str, dict[str, int]] = {}
        for partition in partitions:
            ends.setdefault(partition.topic, {})[str(partition.partition)] = found[partition]
        return ends
