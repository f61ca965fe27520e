"""`report-ready` is the authority on what was published: before anything closes, the database must agree with it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from schemas.topics import REPORT_READY
from services.publisher.closing import WRITTEN, State
from services.publisher.relay import read_all
from services.publisher.snapshot import SQL
from services.publisher.store import Store
from services.runtime import kafka
from services.runtime.errors import InvariantError


class RecoveryNeededError(InvariantError):
    """The database lacks revisions that were published (a backup?): run `ddor recover`. Runbook recovery-needed."""


class DigestConflictError(InvariantError):
    """A revision was published with another content than the database has. See the runbook."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A revision as the topic announces it, or (`final`) that its week is final."""

    week: date
    revision: int
    digest: str
    event: Mapping[str, Any]
    timestamp_ms: int
    final: bool

    @property
    def published_at(self) -> datetime:
        """When its record was made."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)

    def __str__(self) -> str:
        return f"{self.week} final" if self.final else f"{self.week}@{self.revision}"


async def announced(client: Mapping[str, Any]) -> AsyncGenerator[Announced, None]:
    """All that `report-ready` says, in the order in which it was published; one at a time, for the topic only grows."""
    consumer = AIOKafkaConsumer(**client, isolation_level="read_committed", enable_auto_commit=False)
    try:
        await kafka.start(consumer.start)
        async for record in read_all(consumer, REPORT_READY):
            event = json.loads(record.value)
            if event["type"] in {"report-ready", "report-final"}:
                yield Announced(
                    date.fromisoformat(event["data"]["week_start"]),
                    event["data"]["revision"],
                    event["data"]["digest"],
                    event,
                    record.timestamp,
                    event["type"] == "report-final",
                )
    finally:
        await kafka.stop(consumer)


async def check(connection: asyncpg.Connection[Any], client: Mapping[str, Any]) -> None:
    """Raise when the topic and the table `report` disagree."""
    if lacking := await missing(connection, announced(client)):
        names = ", ".join(str(one) for one in lacking[:5])
        raise RecoveryNeededError(f"{len(lacking)} announcements are not in the database, run `ddor recover`: {names}")


async def missing(connection: asyncpg.Connection[Any], listed: AsyncGenerator[Announced, None]) -> list[Announced]:
    """What was announced and is not in the database; DigestConflictError where both differ."""
    rows = await connection.fetch(SQL["published"])
    known = {(row["week"], row["revision"]): row["digest"] for row in rows}
    final = {row["week"] for row in await connection.fetch(SQL["final_weeks"])}
    lacking = []
    async with aclosing(listed):
        async for one in listed:
            digest = known.get((one.week, one.revision), one.digest)
            if digest != one.digest:
                raise DigestConflictError(f"{one} was published as {one.digest}, here it is {digest}")
            if one.week not in final if one.final else (one.week, one.revision) not in known:
                lacking.append(one)
    return lacking


async def restore(connection: asyncpg.Connection[Any], store: Store, one: Announced, by: str, now: datetime) -> None:
    """Write one announced revision as it was announced; the week counts as published, or as final."""
    close = (await store.closes()).get(one.week)
    state = close.state if close else State.OPEN
    if one.final:
        if state is State.CLOSED:
            await store.move(one.week, state, State.PUBLISHED, now, by=by)
        await store.move(one.week, State.PUBLISHED, State.FINAL, now, by=by)
        return
    data = dict(one.event["data"])
    tip = await connection.fetchrow(SQL["tip"])
    await connection.execute(
        SQL["add_report"], one.week, one.revision, data["cause"], one.digest, data["figures_digest"],
        data["previous_digest"], _document(data), one.published_at, tip["sequence"] + 1 if tip else 1,
    )  # fmt: skip
    await connection.execute(SQL["restore_close"], one.week, data["offsets"])
    if state not in WRITTEN:
        await store.move(one.week, state, State.PUBLISHED, now, by=by)


def _document(data: Mapping[str, Any]) -> dict[str, Any]:
    """What can be served of a report whose announcement is all that is left."""
    top = data["top"]
    declining = [row for row in data["jurisdictions"] or () if row["declined"]]
    tied = sum(row["declined"] == top[-1]["declined"] for row in declining[len(top) :]) if top else 0
    derived = {"top_declined": sum(row["declined"] for row in top), "tied_at_tenth": tied if len(top) == 10 else 0}
    return {**data, **derived, "jurisdictions": data["jurisdictions"] or [], "recovered": True}
