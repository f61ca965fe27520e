"""The publisher's loop: advance the state machine, restate, and send the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from schemas.log import Partition, Vector
from services.publisher import clock_skew, closing, kept_messages, recovery
from services.publisher.close_trace import CloseTrace
from services.publisher.closing import CaptureBarrier, Close, Drain, Publish, Schedule, State, Wait
from services.publisher.end_offsets import EndOffsets
from services.publisher.inputs import ReportInputs
from services.publisher.queries import SQL
from services.publisher.relay import Relay, measure_age
from services.publisher.revision_writer import WrittenRevision
from services.publisher.store import Store, states
from services.runtime import calendar, metrics, postgres
from services.runtime.clock import Clock
from services.runtime.errors import InvariantError
from services.runtime.kafka_access import AccessCheck
from services.runtime.kafka_rights import DESCRIBE_EVENTS, RELAY
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

_TICK_SECONDS = 0.5
_BEAT_SECONDS = 2.0
_GATES_INTERVAL = timedelta(seconds=15)
_PROOF_INTERVAL = timedelta(minutes=1)
"""The interval between retries of a failed proof. It reads the whole ledger, and a person has to act."""


class LogLostError(InvariantError):
    """The log ends below a counted offset: records are missing. See the runbook log-lost."""


class LeaderSession:
    """A session that closes weeks and sends reports. `inputs` is called for each report."""

    def __init__(
        self,
        settings: Settings,
        client: Mapping[str, Any],
        first_week: date,
        inputs: Callable[[], ReportInputs],
        clock: Clock,
        *,
        skew: timedelta = clock_skew.LIMIT,
    ) -> None:
        """`skew`: the permitted difference between `clock` and the clocks of PostgreSQL and Kafka."""
        self._settings = settings
        self._client = client
        self._first_week = first_week
        self._inputs = inputs
        self._clock = clock
        self._skew = skew
        self._gates_evaluated_at: datetime | None = None
        self._unproven: tuple[date, datetime, str] | None = None
        self._trace = CloseTrace()

    async def session(self, up: Callable[[], None]) -> None:
        """Wait for the lead, then advance until an error ends the session.

        A waiting publisher is ready: it serves reports.
        """
        async with AsyncExitStack() as stack:
            connection = await postgres.connect(self._settings, "ddor-publisher")
            stack.push_async_callback(connection.close, timeout=2)
            await calendar.keep(connection, self._settings.calendar)
            beating = await postgres.connect(self._settings, "ddor-publisher-heartbeat")
            stack.push_async_callback(beating.close, timeout=2)
            await self._check_postgres_clock(connection)
            pid = await self._wait_for_lead(connection, up)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_beat(beating, pid), name="heartbeat")
                tasks.create_task(self._lead(connection, up), name="closing")

    async def _lead(self, connection: asyncpg.Connection[Any], up: Callable[[], None]) -> None:
        """Fence the previous leader, check that database and topic agree, then advance and send."""
        async with AsyncExitStack() as stack:
            await measure_age(connection, self._clock())
            relay = Relay(self._client, connection)
            stack.push_async_callback(relay.stop)
            await relay.start(self._clock())
            await recovery.check(connection, self._client)
            await kept_messages.complete(connection, self._client)
            await connection.execute(SQL["add_missing_figures"])
            ends = EndOffsets(self._client)
            stack.push_async_callback(ends.stop)
            await ends.start()
            access = AccessCheck((*RELAY, *DESCRIBE_EVENTS))
            store = Store(connection, self._settings.calendar, self._settings.hold)
            stack.callback(self._trace.end)
            while True:
                await self._check_postgres_clock(connection)
                await ends.check(access)
                # First, so that written reports are sent even if the next week cannot be proven.
                with self._trace.send():
                    await relay.run(self._clock())
                await relay.prune(self._clock())
                acted = await self.step(store, ends)
                up()
                if not acted:
                    await asyncio.sleep(_TICK_SECONDS)

    async def _wait_for_lead(self, connection: asyncpg.Connection[Any], up: Callable[[], None]) -> int:
        """Acquire the lead for this session, and end the session of a leader without a heartbeat.

        Returns the process id of the database session, which is in the leader's row from now on.
        """
        while not await connection.fetchval(SQL["try_lead"]):
            _clear_metrics()
            await self._check_postgres_clock(connection)
            up()
            leader = await connection.fetchrow(SQL["leader"])
            if leader is not None and leader["stale"]:
                log.warning("leader-cut-off")
                await connection.execute(SQL["end_session"], leader["backend_pid"])
            await asyncio.sleep(_TICK_SECONDS)
        pid: int = await connection.fetchval(SQL["claim_lead"])
        return pid

    async def step(self, store: Store, ends: EndOffsets) -> bool:
        """Do one step. Returns whether anything was done."""
        now, settings = self._clock(), self._settings
        closes = await store.closes()
        for state, weeks in states(closes).items():
            metrics.WEEK_STATE.labels(state).set(weeks)
        positions = await store.positions()
        schedule = Schedule(settings.calendar, self._first_week, settings.grace, closes)
        metrics.WEEK_DUE.set(schedule.due.timestamp())
        since = closing.provisional_since(schedule, settings.provisional, now)
        step = closing.next_step(schedule, positions.vector, positions.halted.keys(), now)
        acted = False
        match step:
            case Wait():
                pass
            case CaptureBarrier(week):
                with self._trace.capture(week.first):
                    await self._check_kafka_clock(ends)
                    close, barrier = closes.get(week.first), await ends.read()
                    if lost := _names(positions.vector.shortfall(barrier)):
                        # A barrier below the positions would prove nothing.
                        raise LogLostError(f"the log of {', '.join(lost)} ends below the counted offset")
                    await store.set_barrier(week.first, close.state if close else State.OPEN, barrier, now)
                log.info("barrier-captured", week=str(week))
                acted = True
            case Drain(week, shortfall):
                await self._check_log(store, week.first, closes[week.first], ends)
                log.debug("draining", week=str(week), partitions=len(shortfall))
            case Publish(week):
                acted = await self._publish(step, store, ends, closes[week.first], since)
        restated = await store.restate_requested(self._inputs, now)
        _log_written(restated)
        if await store.is_over(since):
            await self._check_kafka_clock(ends)
        await store.finalise(now, since)
        metrics.REFUSED_RESTATEMENTS.set(len(await store.refused()))
        return acted or bool(restated)

    async def _check_postgres_clock(self, connection: asyncpg.Connection[Any]) -> None:
        """Raise ClockSkewError if this host's clock differs from that of PostgreSQL: such a host must not lead."""
        await clock_skew.compare(self._clock, {"PostgreSQL": lambda: connection.fetchval(SQL["time"])}, self._skew)

    async def _check_kafka_clock(self, ends: EndOffsets) -> None:
        """Raise ClockSkewError if this host's clock differs from Kafka's. Called before each irreversible step."""
        await clock_skew.compare(self._clock, {"Kafka": ends.time}, self._skew)

    async def _publish(self, step: Publish, store: Store, ends: EndOffsets, close: Close, since: datetime) -> bool:
        now = self._clock()
        if close.state is State.HELD and close.holds(now) and self._evaluated_recently(now):
            return False
        if close.state is State.HALTED:
            await store.move(step.week.first, State.HALTED, State.DRAINING, now)
            return True
        with self._trace.write(step.week.first):
            await self._check_kafka_clock(ends)
            self._gates_evaluated_at = now
            written = await self._write_report(step, store, close, since)
            _log_written(written)
            self._trace.wrote(len(written))
        return bool(written)

    async def _write_report(self, step: Publish, store: Store, close: Close, since: datetime) -> list[WrittenRevision]:
        """Prove the counts and write the week's report.

        Raises InvariantError if the counts cannot be proven. For a minute, it is raised again without a new proof.
        """
        now, week = self._clock(), step.week.first
        if self._unproven is not None:
            unproven_week, at, why = self._unproven
            if unproven_week == week and abs(now - at) < _PROOF_INTERVAL:
                raise InvariantError(why)
        self._unproven = None
        try:
            return await store.publish(step.week, close, self._inputs(), now, since)
        except InvariantError as error:
            self._unproven = week, now, str(error)
            raise

    def _evaluated_recently(self, now: datetime) -> bool:
        """Whether to skip the gates of a held week at this step, because the proof reads the whole ledger."""
        return self._gates_evaluated_at is not None and abs(now - self._gates_evaluated_at) < _GATES_INTERVAL

    async def _check_log(self, store: Store, week: date, close: Close, ends: EndOffsets) -> None:
        lost = _names((close.barrier or Vector()).shortfall(await ends.read()))
        if lost and close.state in (State.DRAINING, State.HELD):
            log.error("log-lost", week=str(week), partitions=lost)
            await store.move(week, close.state, State.HALTED, self._clock(), why=f"LogLost: {', '.join(lost)}")
        elif not lost and close.state is State.HALTED:
            await store.move(week, State.HALTED, State.DRAINING, self._clock())


def _names(partitions: Iterable[Partition]) -> list[str]:
    return [str(one) for one in partitions]


def _clear_metrics() -> None:
    """Clear the metrics that only the leader exports. A leader that has lost Kafka alone keeps its values."""
    metrics.WEEK_STATE.clear()
    metrics.FOREIGN_RECORDS.clear()
    for gauge in (metrics.WEEK_DUE, metrics.OUTBOX_AGE, metrics.REFUSED_RESTATEMENTS):
        gauge.set(0)


class LeadershipLostError(Exception):
    """Another publisher leads: this one sent no heartbeat for too long."""


async def _beat(connection: asyncpg.Connection[Any], pid: int) -> None:
    """Send heartbeats over a separate connection, because a proof of a large ledger may take minutes."""
    while True:
        if await connection.execute(SQL["heartbeat"], pid) != "UPDATE 1":
            raise LeadershipLostError
        await asyncio.sleep(_BEAT_SECONDS)


def _log_written(revisions: Iterable[WrittenRevision]) -> None:
    for one in revisions:
        log.info("report-written", week=str(one.week), revision=one.revision, digest=one.digest)
