"""A publisher whose clock the test holds, and weeks that no other test uses."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from schemas.week import ReportingWeek
from services.publisher.closer import Closer, EndOffsets
from services.publisher.relay import Relay
from services.publisher.rules import Rules, current
from services.publisher.snapshot import SQL
from services.publisher.store import Store
from services.runtime import kafka, postgres
from services.runtime.agencies import AgenciesFile
from services.runtime.settings import Settings
from tests.support.batches import CALENDAR
from tests.support.positions import Connection

_FIRST = date(2010, 1, 2)
_unused = itertools.count()


def new_week() -> ReportingWeek:
    """A week at least two months away from those of other tests: the topic of reports is one for all tests."""
    return CALENDAR.week(_FIRST + timedelta(days=70 * next(_unused)))


@dataclass(slots=True)
class Hands:
    """A clock that stands where the test puts it."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class Publisher:
    """The closing half of a publisher, stepped by the test."""

    closer: Closer
    store: Store
    ends: EndOffsets
    clock: Hands

    async def step(self) -> bool:
        """Do what is due."""
        return await self.closer.step(self.store, self.ends)

    async def steps(self) -> int:
        """Do all that is due; how many steps that was."""
        for done in itertools.count():
            if not await self.step():
                return done
        raise AssertionError("count never ends")


async def all_sent(connection: Connection) -> bool:
    """Whether no message waits in the outbox."""
    return bool(await connection.fetchval("SELECT count(*) = 0 FROM outbox WHERE sent_at IS NULL"))


def rules(settings: Settings, *notes: str) -> Rules:
    """What a report needs besides the log."""
    known = AgenciesFile(settings.agencies_file, time.monotonic).current()
    assert known is not None
    return current(
        settings.calendar,
        known,
        demonstration=False,
        notes=list(notes),
        line_list=settings.line_list,
        legal_basis=settings.line_list_basis,
    )


def store(settings: Settings, connection: Any) -> Store:
    """The publisher's transactions over a connection."""
    return Store(connection, settings.calendar, settings.hold)


def client(settings: Settings) -> dict[str, Any]:
    """What a Kafka client of the publisher is made with."""
    return kafka.client(settings, "ddor-test-publisher")


@asynccontextmanager
async def publishing(settings: Settings, now: datetime) -> AsyncIterator[Publisher]:
    """A publisher that leads, its clock at `now`."""
    assert settings.first_week is not None
    clock = Hands(now)
    connection = await postgres.connect(settings, "ddor-publisher")
    ends = EndOffsets(client(settings))
    try:
        await ends.start()
        assert await connection.fetchval(SQL["try_lead"])
        closer = Closer(settings, client(settings), settings.first_week, lambda: rules(settings), clock)
        yield Publisher(closer, store(settings, connection), ends, clock)
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
