"""Deleting the kept bytes of rejects whose time is over: at the start of an aggregator, and once a day.

Each aggregator does it. What another one is about to delete is left to it, so none waits for another, nor for a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import asyncpg

from services.aggregator.store import SQL
from services.runtime import postgres
from services.runtime.clock import Clock
from services.runtime.errors import is_transient
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

MOST = 1_000
"""Rows of one statement."""
DAY_SECONDS = 86_400.0
AGAIN_SECONDS = 600.0


async def purge(connection: asyncpg.Connection[Any], now: datetime) -> int:
    """Delete what was to be kept until `now` or before; how many rejects lost their bytes. Their reasons stay."""
    total, deleted = 0, MOST
    while deleted == MOST:
        done: str = await connection.execute(SQL["purge"], now, MOST)
        deleted = int(done.rpartition(" ")[2])
        total += deleted
    return total


async def run(settings: Settings, clock: Clock, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Purge now and once a day, until cancelled; ten minutes after a failure again."""
    while True:
        try:
            log.info("rejects-purged", rows=await _once(settings, clock()))
            wait = DAY_SECONDS
        except Exception as error:
            if is_transient(error):
                log.warning("rejects-not-purged", error=type(error).__name__)
            else:
                log.exception("rejects-not-purged")
            wait = AGAIN_SECONDS
        await pause(wait)


async def _once(settings: Settings, now: datetime) -> int:
    connection = await postgres.connect(settings, "ddor-aggregator-purge")
    try:
        rows = await purge(connection, now)
        await connection.close(timeout=2)
    finally:
        connection.terminate()
    return rows
