"""Deletes expired rejects and their stored bytes: when an aggregator starts, and once a day.

Every aggregator runs it. Rows that another session has locked are skipped, so it waits for no other aggregator and for
no batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import asyncpg

from services.aggregator.queries import SQL
from services.runtime import error_messages, metrics, postgres
from services.runtime.clock import Clock
from services.runtime.errors import is_transient
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

MAX_ROWS = 1_000
"""Rows that one statement deletes at most."""
DAY_SECONDS = 86_400.0
RETRY_SECONDS = 600.0


async def purge(connection: asyncpg.Connection[Any], now: datetime) -> int:
    """Delete the stored bytes of rejects that expired by `now`; the rejects stay. Returns the number of rows.

    Rows must have expired by PostgreSQL's clock too: one host's clock may be wrong, and deletion is final.
    """
    total, deleted = 0, MAX_ROWS
    while deleted == MAX_ROWS:
        done: str = await connection.execute(SQL["purge"], now, MAX_ROWS)
        deleted = int(done.rpartition(" ")[2])
        total += deleted
    return total


async def prune(connection: asyncpg.Connection[Any], now: datetime) -> int:
    """Delete expired rejects by the rule in `prune_rejects` and add them to the stored totals. Returns their number."""
    total, deleted = 0, MAX_ROWS
    while deleted == MAX_ROWS:
        deleted = sum(row["pruned"] for row in await connection.fetch(SQL["prune_rejects"], now, MAX_ROWS))
        total += deleted
    return total


async def run(settings: Settings, clock: Clock, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Purge and prune now and once a day, until cancelled. Retries ten minutes after a failure."""
    while True:
        try:
            purged, pruned = await _once(settings, clock())
            log.info("rejects-purged", rows=purged, pruned=pruned)
            wait = DAY_SECONDS
        except Exception as error:
            why = error_messages.message(error)
            if is_transient(error) or why is not None:
                log.warning("rejects-not-purged", error=type(error).__name__, reason=why)
            else:
                log.exception("rejects-not-purged")
            wait = RETRY_SECONDS
        await pause(wait)


async def _once(settings: Settings, now: datetime) -> tuple[int, int]:
    connection = await postgres.connect(settings, "ddor-aggregator-purge")
    try:
        found = {"rejected_raw": await purge(connection, now), "rejected": await prune(connection, now)}
        await connection.close(timeout=2)
    finally:
        connection.terminate()
    for table, rows in found.items():
        metrics.PRUNED.labels(table).inc(rows)
        metrics.PRUNED_AT.labels(table).set(now.timestamp())
    return found["rejected_raw"], found["rejected"]
