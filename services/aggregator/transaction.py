"""One transaction that never hangs its caller: who is cancelled does not wait for a server that does not answer."""

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
    """Rolled back on an error, which is the one that is raised. Cancelled, or not rolled back: the connection is cut.

    A connection that might still be inside a transaction is never used again: a later commit on it would be a
    savepoint's.
    """
    started = connection.transaction(isolation=isolation)
    try:
        await started.start()
        try:
            yield
        except Exception:
            try:
                await started.rollback()
            except Exception:  # the first error says more
                connection.terminate()
            raise
        await started.commit()
    except asyncio.CancelledError:
        connection.terminate()
        raise
