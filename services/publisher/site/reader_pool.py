"""The connections to PostgreSQL for readers: a bounded queue, and a separate connection for the readiness check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeAlias

import asyncpg

from services.runtime import error_messages
from services.runtime.errors import DATABASE_ERRORS, CallerError

CONNECTIONS = 4
"""The number of connections to PostgreSQL, shared by all readers."""
MAX_QUEUED = 200
"""The maximum number of readers that wait for a connection. Further readers are refused at once."""
TIMEOUT_SECONDS = 4.0
"""The limit for each of: waiting in the queue, acquiring a connection, running a statement, cancelling it."""

Connect: TypeAlias = "Callable[[], asyncpg.Pool[Any]]"
"""Creates a pool of CONNECTIONS. The pool connects when it is first used."""


class TooManyReadersError(Exception):
    """The queue is full, or no connection became free in time."""


@asynccontextmanager
async def _open(pool: asyncpg.Pool[Any]) -> AsyncIterator[asyncpg.Pool[Any]]:
    """The pool, closed within two seconds: an unreachable server does not acknowledge the close."""
    stack = AsyncExitStack()
    try:
        yield await stack.enter_async_context(pool)
    finally:
        with suppress(TimeoutError):  # a cancelled close terminates the pool
            async with asyncio.timeout(2):
                await stack.aclose()


class ReaderPool:
    """Runs the statements of readers on a few connections, in the order of arrival."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._queued = 0
        self._check: asyncio.Task[str | None] | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep the pools open. Use it for the lifetime of the service."""
        async with _open(self._connect()) as self._pool, _open(self._connect()) as self._check_pool:
            yield

    async def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of a statement.

        TooManyReadersError if no connection is free in time; TimeoutError if the server does not respond.
        """
        async with self._turn(), self._pool.acquire(timeout=TIMEOUT_SECONDS) as connection:
            return await connection.fetch(statement, *arguments, timeout=TIMEOUT_SECONDS)

    async def waiting_for(self) -> str | None:
        """None if PostgreSQL responds, else the problem. Readers do not delay the check.

        Concurrent callers share one check. The readiness route needs no key, so its requests must not queue either.
        """
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._run_check(), name="readiness")
        return await asyncio.shield(self._check)

    async def _run_check(self) -> str | None:
        try:
            async with self._check_pool.acquire(timeout=TIMEOUT_SECONDS) as connection:
                await connection.fetch("SELECT 1", timeout=TIMEOUT_SECONDS)
        except (OSError, CallerError, *DATABASE_ERRORS) as error:
            return f"PostgreSQL: {error_messages.summary(error)}"
        return None

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a free connection, first in, first out."""
        if self._queued >= MAX_QUEUED:
            raise TooManyReadersError
        self._queued += 1
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise TooManyReadersError from None
        finally:
            self._queued -= 1
        try:
            yield
        finally:
            self._free.release()
