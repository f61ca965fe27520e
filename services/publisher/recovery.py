"""`report-ready` is the authority on what was published: before anything closes, the database must agree with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from schemas.topics import REPORT_READY
from services.publisher.relay import read_all
from services.publisher.snapshot import SQL
from services.runtime.errors import InvariantError


class RecoveryNeededError(InvariantError):
    """Revisions were published that the database lacks (restored from a backup?): run `ddor recover`."""


class DigestConflictError(InvariantError):
    """A revision was published with another content than the database has."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A revision as the topic announces it."""

    week: date
    revision: int
    digest: str
    event: Mapping[str, Any]
    timestamp_ms: int


async def announced(client: Mapping[str, Any]) -> list[Announced]:
    """All revisions on `report-ready`, in the order in which they were published."""
    consumer = AIOKafkaConsumer(**client, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        records = await read_all(consumer, REPORT_READY)
    finally:
        await consumer.stop()
    events = [(json.loads(record.value), record.timestamp) for record in records]
    return [
        Announced(
            date.fromisoformat(event["data"]["week_start"]),
            event["data"]["revision"],
            event["data"]["digest"],
            event,
            stamp,
        )
        for event, stamp in events
        if event["type"] == "report-ready"
    ]


async def check(connection: asyncpg.Connection[Any], client: Mapping[str, Any]) -> None:
    """Raise when the topic and the table `report` disagree."""
    if lacking := await missing(connection, await announced(client)):
        names = ", ".join(f"{one.week}@{one.revision}" for one in lacking[:5])
        raise RecoveryNeededError(f"{len(lacking)} published revisions are not in the database: {names}")


async def missing(connection: asyncpg.Connection[Any], listed: list[Announced]) -> list[Announced]:
    """What was announced and is not in the database; DigestConflictError where both differ."""
    rows = await connection.fetch(SQL["published"])
    known = {(row["week"], row["revision"]): row["digest"] for row in rows}
    for one in listed:
        digest = known.get((one.week, one.revision), one.digest)
        if digest != one.digest:
            raise DigestConflictError(f"{one.week}@{one.revision} was published as {one.digest}, here it is {digest}")
    return [one for one in listed if (one.week, one.revision) not in known]


async def restore(connection: asyncpg.Connection[Any], one: Announced) -> None:
    """Write one announced revision as it was announced; the week counts as published."""
    data = dict(one.event["data"]) | {"recovered": True}
    published = datetime.fromtimestamp(one.timestamp_ms / 1000, UTC)
    tip = await connection.fetchrow(SQL["tip"])
    await connection.execute(
        SQL["add_report"], one.week, one.revision, data["cause"], one.digest, data["figures_digest"],
        data["previous_digest"], data, published, tip["sequence"] + 1 if tip else 1,
    )  # fmt: skip
    await connection.execute(SQL["restore_close"], one.week, data["offsets"])
