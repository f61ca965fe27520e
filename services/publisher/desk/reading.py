"""Reads what `ddor status` and the desk show. Each function is a few statements over one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import asyncpg

from services.publisher.closing import Close, State
from services.publisher.desk.queries import SQL
from services.publisher.queries import SQL as PUBLISHER_SQL
from services.publisher.store import REFUSED
from services.runtime import heartbeats

Rows: TypeAlias = "Sequence[Mapping[str, Any]]"
Connection: TypeAlias = "asyncpg.Connection[Any]"


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows whose number does not grow with the number of counted or rejected records."""

    partitions: Rows
    workers: Rows
    publisher: Mapping[str, Any] | None
    weeks: Rows
    closes: Mapping[date, Close]
    refused: Mapping[str, str]
    restatements: Rows
    verifications: Rows
    audit: Mapping[str, Any] | None
    unsent: int
    oldest_unsent: Mapping[str, Any] | None
    unsent_reports: Sequence[str]


async def tables(connection: Connection) -> Tables:
    """The current rows."""

    async def rows(name: str, *arguments: object) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(SQL[name], *arguments)]

    async def row(name: str, *arguments: object) -> dict[str, Any] | None:
        return next(iter(await rows(name, *arguments)), None)

    closes = {one["week"]: Close(State(one["state"])) for one in await rows("closes")}
    refused = await connection.fetch(PUBLISHER_SQL["refused"], REFUSED)
    return Tables(
        partitions=await rows("partitions"),
        workers=await rows("workers", heartbeats.WORKER_EXPIRY),
        publisher=await row("publisher", heartbeats.LEADER_EXPIRY),
        weeks=await rows("weeks"),
        closes=closes,
        refused={str(one["week"]): one["outcome"] for one in refused},
        restatements=await rows("restatements"),
        verifications=await rows("failed_verifications"),
        audit=await row("last_audit"),
        unsent=await connection.fetchval(SQL["unsent"]),
        oldest_unsent=await row("oldest_unsent"),
        unsent_reports=[one["week"] for one in await rows("unsent_reports")],
    )


async def rejects(connection: Connection) -> list[dict[str, Any]]:
    """Rejects by topic and reason. Reads all rejects."""
    return [dict(row) for row in await connection.fetch(SQL["rejects"])]


async def open_conflicts(connection: Connection) -> int:
    """The number of versions with two contents. Reads the whole history."""
    count: int = await connection.fetchval(SQL["open_conflicts"])
    return count


async def heard(connection: Connection, weeks: Sequence[date]) -> dict[str, set[str]]:
    """The agencies with a fact or an attestation of each week. Reads the facts of these weeks."""
    found: dict[str, set[str]] = {str(week): set() for week in weeks}
    for row in await connection.fetch(SQL["heard"], weeks):
        found[row["week"]].add(row["agency"])
    return found


async def actions(connection: Connection) -> list[dict[str, Any]]:
    """The newest 50 actions of operators."""
    return [dict(row) for row in await connection.fetch(SQL["actions"])]
