"""The publisher's loop: do the next step of the state machine, then send what is in the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import date
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import EVENT_TOPICS
from services.publisher import closing
from services.publisher.closing import CaptureBarrier, Drain, Offsets, Publish, Wait
from services.publisher.relay import Relay
from services.publisher.report import Rules
from services.publisher.store import Store, states
from services.runtime import metrics, postgres
from services.runtime.clock import Clock
from services.runtime.errors import InvariantError
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

_TICK_SECONDS = 0.5


class LogLostError(InvariantError):
    """The log ends before the barrier: records that were there are gone."""


class Closer:
    """One session of closing and sending. `rules` is asked anew for each report."""

    def __init__(
        self,
        settings: Settings,
        client: Mapping[str, Any],
        first_week: date,
        rules: Callable[[], Rules],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._client = client
        self._first_week = first_week
        self._rules = rules
        self._clock = clock

    async def session(self, up: Callable[[], None]) -> None:
        """Wait for the lead, then step until something fails. One that waits is well: it serves reports."""
        async with AsyncExitStack() as stack:
            connection = await postgres.connect(self._settings, "ddor-publisher")
            stack.push_async_callback(connection.close, timeout=2)
            store = Store(connection)
            while not await store.lead():
                up()
                await asyncio.sleep(_TICK_SECONDS)
            relay = Relay(self._client, connection)
            stack.push_async_callback(relay.stop)
            await relay.show_age(self._clock())
            ends = EndOffsets(self._client)
            stack.push_async_callback(ends.stop)
            await ends.start()
            await relay.start(self._clock())
            while True:
                acted = await self.step(store, ends)
                await relay.run(self._clock())
                up()
                if not acted:
                    await asyncio.sleep(_TICK_SECONDS)

    async def step(self, store: Store, ends: EndOffsets) -> bool:
        """Do what is due; answers whether anything was done."""
        now = self._clock()
        closes = await store.closes()
        for state, weeks in states(closes).items():
            metrics.WEEK_STATE.labels(state).set(weeks)
        positions = await store.positions()
        grace, calendar = self._settings.grace, self._settings.calendar
        open_week = closing.next_by_itself(calendar, self._first_week, closes)
        metrics.WEEK_DUE.set((open_week.ends_at + grace).timestamp())
        step = closing.next_step(
            calendar=calendar,
            first_week=self._first_week,
            grace=grace,
            closes=closes,
            positions=positions,
            now=now,
        )
        match step:
            case Wait():
                return False
            case CaptureBarrier(week):
                if halted := await store.halted():
                    log.debug("week-held-up", week=str(week), halted=halted)
                    return False
                barrier = await ends.read()
                # A log that ends below what was counted would give a barrier that proves nothing.
                _check_log(positions, barrier)
                await store.store_barrier(week, barrier, now)
                log.info("barrier-captured", week=str(week))
            case Drain(week, behind):
                _check_log(closes[week.first].barrier or {}, await ends.read())
                log.debug("draining", week=str(week), partitions=len(behind))
                return False
            case Publish(week):
                report = await store.publish(week, self._rules(), now)
                log.info("week-closed", week=str(week), revision=report.revision, digest=report.digest)
        return True


def _check_log(seen: Offsets, ends: Offsets) -> None:
    """LogLostError where the log now ends below offsets that were there: of a barrier, or counted ones."""
    if gone := closing.lost(seen, ends):
        raise LogLostError(f"the log of {', '.join(gone)} ends before what it held; see the runbook for LogLost")


class EndOffsets:
    """Where each partition of the event topics ends now."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._consumer = AIOKafkaConsumer(**client, enable_auto_commit=False)
        self._partitions = [TopicPartition(topic.name, n) for topic in EVENT_TOPICS for n in range(topic.partitions)]

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Close the connection."""
        await self._consumer.stop()

    async def read(self) -> dict[str, dict[str, int]]:
        """The next offset of each partition, by topic and partition."""
        found = await self._consumer.end_offsets(self._partitions)
        ends: dict[str, dict[str, int]] = {}
        for partition in self._partitions:
            ends.setdefault(partition.topic, {})[str(partition.partition)] = found[partition]
        return ends
