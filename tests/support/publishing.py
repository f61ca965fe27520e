"""A publisher with a clock that the test sets, and weeks that no other test uses."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from schemas.week import ReportingWeek
from services.publisher.end_offsets import EndOffsets
from services.publisher.inputs import ReportInputs, current
from services.publisher.leader import LeaderSession
from services.publisher.queries import SQL
from services.publisher.relay import Relay
from services.publisher.store import Store
from services.runtime import kafka, postgres
from services.runtime.agencies import AgenciesFile
from services.runtime.settings import Settings
from tests.support.batches import CALENDAR
from tests.support.positions import Connection

ANY_SKEW = timedelta.max
"""For a publisher whose clock is set by the test, years before those of Kafka and PostgreSQL."""
_FIRST = date(2010, 1, 2)
_unused = itertools.count()


def new_week() -> ReportingWeek:
    """A week at least two months from those of other tests, because all tests share one topic of reports."""
    return CALENDAR.week(_FIRST + timedelta(days=70 * next(_unused)))


@dataclass(slots=True)
class Hands:
    """A clock that the test sets."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class Publisher:
    """The leader session of a publisher; the test calls each step."""

    leader: LeaderSession
    store: Store
    ends: EndOffsets
    clock: Hands

    async def step(self) -> bool:
        """Do one step. Returns whether anything was done."""
        return await self.leader.step(self.store, self.ends)

    async def steps(self) -> int:
        """Step until nothing is due. Returns the number of steps."""
        for done in itertools.count():
            if not await self.step():
                return done
        raise AssertionError("count never ends")


async def all_sent(connection: Connection) -> bool:
    """Whether the outbox has no unsent message."""
    return bool(await connection.fetchval("SELECT count(*) = 0 FROM outbox WHERE sent_at IS NULL"))


def report_inputs(settings: Settings, *notes: str) -> ReportInputs:
    """The inputs of a report from the settings."""
    known = AgenciesFile(settings.agencies_file, time.monotonic).current()
    assert known is not None
    return current(
        settings.calendar,
        known,
        demonstration=settings.demonstration,
        notes=[*notes, settings.note] if settings.note else list(notes),
        line_list=settings.line_list,
        legal_basis=settings.line_list_basis,
    )


def store(settings: Settings, connection: Any) -> Store:
    """The publisher's transactions over a connection."""
    return Store(connection, settings.calendar, settings.hold)


def client(settings: Settings) -> dict[str, Any]:
    """The arguments of the publisher's Kafka clients."""
    return kafka.client(settings, "ddor-test-publisher")


@asynccontextmanager
async def publishing(settings: Settings, now: datetime) -> AsyncIterator[Publisher]:
    """A publisher that leads, with its clock at `now`."""
    assert settings.first_week is not None
    clock = Hands(now)
    connection = await postgres.connect(settings, "ddor-publisher")
    ends = EndOffsets(client(settings))
    try:
        await ends.start()
        assert await connection.fetchval(SQL["try_lead"])
        leader = LeaderSession(
            settings, client(settings), settings.first_week, lambda: report_inputs(settings), clock, skew=ANY_SKEW
        )
        yield Publisher(leader, store(settings, connection), ends, clock)
    finally:
        await ends.stop()
        await connection.close()


@asynccontextmanager
async def relaying(settings: Settings, connection: Any, now: datetime) -> AsyncIterator[Relay]:
    """A relay that has started."""
    relay = Relay(client(settings), connection)
    try:
        await relay.start(now)
        yield relay
    finally:
        await relay.stop()
