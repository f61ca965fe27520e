"""Audits: the proof of the whole ledger, once a day and by `ddor audit`.

Each report proves the counters of its weeks, and that the records since the last report are accounted for. An audit
proves both for all weeks and all records, because data that were correct once may be changed later by other means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from services.publisher.queries import SQL
from services.runtime import calendar, metrics, postgres
from services.runtime.clock import Clock
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

INTERVAL = timedelta(days=1)
_EVERY = 60.0
STATEMENT_SECONDS = 3600
"""Time limit of a statement that reads the whole ledger."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of one audit. `at`: UTC. `outcome`: the first difference, empty if there is none."""

    at: datetime
    records: int
    seconds: int
    outcome: str


async def run(connection: asyncpg.Connection[Any], by: str, clock: Clock) -> Audit:
    """Prove the whole ledger in one snapshot, and store the result. Takes seconds for each ten million facts."""
    at = clock()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        records: int = await connection.fetchval(SQL["counted_records"])
        unequal = await connection.fetch(SQL["unequal_weeks"], timeout=STATEMENT_SECONDS)
        missing = await connection.fetch(SQL["unaccounted"], timeout=STATEMENT_SECONDS)
    found = [*map(of_cell, unequal), *map(of_partition, missing)]
    more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    done = Audit(at, records, round((clock() - at).total_seconds()), found[0] + more if found else "")
    await connection.execute(SQL["add_audit"], at, by, done.records, done.seconds, done.outcome)
    return done


def of_cell(row: asyncpg.Record) -> str:
    """A row of `unequal` or `unequal_weeks` as a sentence."""
    return (
        f"{row['week']} {row['jurisdiction']} {row['kind']}: counted {row['counted']}, in the ledger {row['in_ledger']}"
    )


def of_partition(row: asyncpg.Record) -> str:
    """A row of `unaccounted` or `unaccounted_since` as a sentence."""
    return (
        f"{row['topic']}/{row['partition']}: {row['records']} records, {row['facts']} facts, "
        f"{row['duplicates']} duplicates, {row['rejected']} rejected, {row['rejects']} rows of rejects"
    )


class Auditor:
    """Audits once a day."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def session(self, up: Callable[[], None]) -> None:
        """Audit whenever the last one is a day old, until an error ends the session. A lock selects one publisher."""
        async with AsyncExitStack() as stack:
            connection = await postgres.connect(self._settings, "ddor-publisher-audit")
            stack.push_async_callback(connection.close, timeout=2)
            await calendar.check(connection, self._settings.calendar)
            up()
            while True:
                await self.step(connection)
                await asyncio.sleep(_EVERY)

    async def step(self, connection: asyncpg.Connection[Any]) -> None:
        """Audit if the last one is a day old and no other publisher audits. Updates the metrics in any case."""
        last = await connection.fetchrow(SQL["last_audit"])
        is_due = last is None or self._clock() - last["at"] >= INTERVAL
        if is_due and await connection.fetchval(SQL["try_audit"]):
            done = await run(connection, "publisher", self._clock)
            write = log.error if done.outcome else log.info
            write("audited", records=done.records, seconds=done.seconds, detail=done.outcome or None)
            last = await connection.fetchrow(SQL["last_audit"])
        if last is not None:
            metrics.AUDIT_AT.set(last["at"].timestamp())
            metrics.AUDIT_FAILED.set(last["outcome"] != "")
