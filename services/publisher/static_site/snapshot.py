"""One transaction for all statements of a run: a report that is published meanwhile is in none of the files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, cast

import asyncpg

from schemas.week import ReportingCalendar
from services.publisher.site.reader_pool import Connect
from services.runtime import calendar, postgres
from services.runtime.settings import Settings


class Snapshot:
    """A connection in a read-only transaction, with the part of a pool's interface that the routes use."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection, self._turn = connection, asyncio.Lock()
        self.error: Exception | None = None
        """The error of a statement. Every later statement fails because of it."""

    @property
    def connect(self) -> Connect:
        """This snapshot as the pool of the routes."""
        return lambda: cast("asyncpg.Pool[Any]", self)

    async def __aenter__(self) -> Snapshot:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        return None

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator[asyncpg.Connection[Any]]:  # noqa: ASYNC109  # of a pool
        """The connection. TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            await self._turn.acquire()
        try:
            yield self._connection
        except Exception as error:
            self.error = self.error or error
            raise
        finally:
            self._turn.release()

    async def rows(self, statement: str) -> list[asyncpg.Record]:
        """The rows of a statement."""
        return await self._connection.fetch(statement)

    async def check_calendar(self, reporting: ReportingCalendar) -> None:
        """Raise CalendarDiffersError if the database has another calendar."""
        await calendar.check(self._connection, reporting)


@asynccontextmanager
async def taken(settings: Settings) -> AsyncIterator[Snapshot]:
    """A snapshot of the database. Raises the errors of `postgres.connect`."""
    connection = await postgres.connect(settings, "ddor-site")
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield Snapshot(connection)
    finally:
        connection.terminate()  # nothing to commit, and a server that is away does not delay the error
