"""Detect a connection pooler in transaction mode when a connection is opened, before anything fails because of it.

Advisory locks, heartbeats, settings and prepared statements belong to a session. In transaction mode the pooler sends
the statements of one session to any backend. A pooler in session mode is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg

from services.runtime.errors import ConfigurationError

SENTENCE: Final = (
    "DDOR_POSTGRES_DSN names a connection pooler in transaction mode, which sends the statements of one session to"
    " different backends: set its pool_mode to session for this database, or name PostgreSQL itself"
)

UNKNOWN_STATEMENT: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
"""A prepared statement is missing or exists already: a different backend has responded."""

_ROUNDS = 3
_TIMEOUT_SECONDS = 2.0
_PID = "SELECT pg_backend_pid()"


class TransactionPoolerError(ConfigurationError):
    """The connection goes through a pooler in transaction mode."""

    def __init__(self) -> None:
        super().__init__(SENTENCE)


async def check(connection: asyncpg.Connection[Any], another: Callable[[], Awaitable[asyncpg.Connection[Any]]]) -> None:
    """Raise TransactionPoolerError if this connection shares backends with a second one or moves between backends.

    `another` opens a second connection in the same way. If that times out, the check passes.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            second = await another()
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await _compare(connection, second)
        except UNKNOWN_STATEMENT:
            raise TransactionPoolerError from None
        except asyncpg.PostgresError as error:
            if "pooling mode" in str(error):  # statement mode does not support transactions
                raise TransactionPoolerError from None
            raise
        finally:
            second.terminate()


async def _compare(connection: asyncpg.Connection[Any], second: asyncpg.Connection[Any]) -> None:
    """While the second connection is in a transaction, the first must have another backend, and always the same one."""
    mine = {await connection.fetchval(_PID)}
    for _ in range(_ROUNDS):
        async with second.transaction():
            if await second.fetchval(_PID) in mine:
                raise TransactionPoolerError
            mine.add(await connection.fetchval(_PID))
        if len(mine) > 1:
            raise TransactionPoolerError
