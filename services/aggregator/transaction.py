"""A PostgreSQL transaction whose caller, when cancelled, does not wait for an unresponsive server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import asyncpg


@asynccontextmanager
async def transaction(
    connection: asyncpg.Connection[Any], isolation: Literal["read_committed", "repeatable_read"] = "read_committed"
) -> AsyncIterator[None]:
    """Commit at the end; on an error roll back and raise that error. If cancelled, terminate the connection.

    Also terminates the connection if the rollback fails. A connection that may still be inside a transaction must not
    be used again: a later transaction on it would be a savepoint.
    """
    started = connection.transaction(isolation=isolation)
    try:
        await started.start()
        try:
            yield
        except Exception:
            try:
                await started.rollback()
            except Exception:  # raise the first error, not this one
                connection.terminate()
            raise
        await started.commit()
    except asyncio.CancelledError:
        connection.terminate()
        raise
