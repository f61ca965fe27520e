"""The contents of the desk: from PostgreSQL, Kafka and this process, shared between requests.

A request costs nothing while the shared values are fresh. PostgreSQL is read over one connection that cannot write,
with short time limits. The tables that grow with the number of events are read for at most 2 % of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeVar

import asyncpg

from services.publisher import clock_skew
from services.publisher.desk import reading
from services.publisher.desk import state as states
from services.publisher.desk.contents import Contents, Growing
from services.publisher.desk.log_ends import LogEnds, LogReader
from services.publisher.desk.reading import Connection, Tables
from services.publisher.desk.shared import Shared
from services.publisher.kafka_time import KafkaTimeUnavailableError
from services.publisher.queries import SQL
from services.runtime import error_messages, kafka, postgres
from services.runtime.agencies import Agency
from services.runtime.clock import Clock
from services.runtime.settings import Settings

PATIENCE_SECONDS = 4.0
"""How long a request waits for PostgreSQL or Kafka."""
_READING_SECONDS = 5.0
"""The time limit of one reading. A failure is shared as long as a value, so at most 15 s."""
_LIMITS = "SET default_transaction_read_only = on; SET statement_timeout = '2s'; SET lock_timeout = '500ms'"
_LIMITS_OF_GROWING = "SET statement_timeout = '1s'"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Away:
    """A server that cannot be read, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Bounded:
    """Rows that are read again every two seconds, and by how many seconds this host's clock is ahead."""

    tables: Tables
    actions: Sequence[Mapping[str, Any]]
    ahead_seconds: float


@dataclass(frozen=True, slots=True)
class KafkaState:
    """The ends of the log, and by how many seconds this host's clock is ahead of Kafka's; None if unknown."""

    ends: LogEnds
    ahead_seconds: float | None


class Desk:
    """Reads the contents. Opens its connections when it is first used."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        agencies: Callable[[], Sequence[Agency]],
        sessions: Callable[[], Mapping[str, str | None]],
    ) -> None:
        """`sessions` returns the parts of this process, each with its problem or None."""
        self._settings = settings
        self._clock = clock
        self._agencies = agencies
        self._sessions = sessions
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._log: LogReader | None = None
        self._weeks: Sequence[date] = ()
        monotonic = time.monotonic
        self._bounded = Shared(self._read_bounded, monotonic, seconds=2, times=3)
        self._growing = Shared(self._read_growing, monotonic, seconds=15, times=50)
        self._kafka = Shared(self._read_kafka, monotonic, seconds=2, times=3)

    async def contents(self) -> Contents:
        """The current contents. An unreachable PostgreSQL or Kafka is no error: `away` has the reason."""
        bounded, log = await asyncio.gather(_patiently(self._bounded, "PostgreSQL"), _patiently(self._kafka, "Kafka"))
        contents = Contents(self._clock(), sessions=self._sessions())
        if isinstance(log, Away):
            contents.away["Kafka"] = log.why
        else:
            contents.clocks["Kafka"] = log.ahead_seconds
        if isinstance(bounded, Away):
            contents.away["PostgreSQL"] = bounded.why
            return contents
        contents.clocks["PostgreSQL"] = bounded.ahead_seconds
        ends = None if isinstance(log, Away) else log.ends
        contents.state = states.document(bounded.tables, ends, contents.now, self._settings)
        contents.actions = bounded.actions
        self._weeks = states.ended_weeks(contents.state, self._settings.calendar, contents.now)
        growing = await _patiently(self._growing, "PostgreSQL")
        contents.growing = None if isinstance(growing, Away) else growing
        return contents

    async def close(self) -> None:
        """Close all connections."""
        for one in (self._bounded, self._growing, self._kafka):
            await one.close()
        self._drop_connection()
        await self._drop_log()

    async def _read_bounded(self) -> Bounded | Away:
        async def read(connection: Connection) -> Bounded:
            tables, actions = await reading.tables(connection), await reading.actions(connection)
            before = self._clock()
            other = await connection.fetchval(SQL["time"])
            return Bounded(tables, actions, _seconds(clock_skew.ahead(before, other, self._clock())))

        return await self._from_postgres(read)

    async def _read_growing(self) -> Growing | Away:
        async def read(connection: Connection) -> Growing:
            await connection.execute(_LIMITS_OF_GROWING)
            rejects = await _in_time(reading.rejects(connection))
            conflicts = await _in_time(reading.open_conflicts(connection))
            heard = await _in_time(reading.heard(connection, self._weeks))
            await connection.execute(_LIMITS)
            listed = self._agencies()
            silent = None if heard is None else states.not_heard(heard, listed, self._settings.calendar)
            return Growing(self._clock(), rejects, conflicts, silent)

        return await self._from_postgres(read)

    async def _from_postgres(self, read: Callable[[Connection], Awaitable[T]]) -> T | Away:
        """Read over the connection. After any error it is closed, and the next reading opens a new one."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(_READING_SECONDS):
                    if self._connection is None:
                        self._connection = await postgres.connect(self._settings, "ddor-publisher-desk")
                        await self._connection.execute(_LIMITS)
                    return await read(self._connection)
            except BaseException as error:
                self._drop_connection()
                return _away(error, "PostgreSQL")

    async def _read_kafka(self) -> KafkaState | Away:
        try:
            async with asyncio.timeout(_READING_SECONDS):
                if self._log is None:
                    self._log = LogReader(kafka.client(self._settings, "ddor-publisher-desk"))
                    await self._log.start()
                return KafkaState(await self._log.read(), await self._ahead_of_kafka(self._log))
        except BaseException as error:
            await self._drop_log()
            return _away(error, "Kafka")

    async def _ahead_of_kafka(self, log: LogReader) -> float | None:
        before = self._clock()
        try:
            other = await log.time()
        except KafkaTimeUnavailableError:
            return None
        return _seconds(clock_skew.ahead(before, other, self._clock()))

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _drop_log(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            with suppress(Exception):  # the reading's own error is reported
                await log.stop()


def _away(error: BaseException, server: str) -> Away:
    """Raises the error again if it has no external cause."""
    if type(error) is TimeoutError:
        return Away(f"{server} has not responded within {_READING_SECONDS:g} s")
    why = error_messages.message(error) if isinstance(error, Exception) else None
    if why is None:
        raise error
    return Away(why)


async def _patiently(shared: Shared[T | Away], server: str) -> T | Away:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await shared.get()
    except TimeoutError:
        return Away(f"{server} has not responded within {PATIENCE_SECONDS:g} s")


async def _in_time(reading: Awaitable[T]) -> T | None:
    """None if PostgreSQL has cancelled the statement because of its time limit, or of a lock."""
    try:
        return await reading
    except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError):
        return None


def _seconds(difference: timedelta) -> float:
    return difference.total_seconds()
