"""Compares the database with `report-ready`, the record of all published revisions, and restores missing ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from datetime import date, datetime
from typing import Any

import asyncpg

from schemas.log import Vector
from services.publisher import announcements
from services.publisher.announcements import Announced, Unreadable
from services.publisher.closing import WRITTEN, State
from services.publisher.inputs import ReportInputs
from services.publisher.queries import SQL
from services.publisher.store import Store
from services.runtime.errors import CallerError, InvariantError
from services.runtime.logs import get

log = get(__name__)


class RecoveryNeededError(InvariantError):
    """The database lacks published revisions (after a restore?): run `ddor recover`. Runbook recovery-needed."""


class DigestConflictError(InvariantError):
    """The published content of a revision differs from the database. Runbook digest-conflict."""


class UnreadableAnnouncementError(CallerError):
    """A record claims to be an announcement and cannot be parsed. Runbook unreadable-announcement."""


class NothingToDisregardError(CallerError):
    """There is no unreadable announcement at this address."""


_SHOWN = 5
DISREGARD = "disregard"
"""The operator action that confirms that an unreadable record announces nothing."""


async def check(connection: asyncpg.Connection[Any], client: Mapping[str, Any]) -> None:
    """Compare the topic with the table `report`. Raises the errors of `missing`, and RecoveryNeededError."""
    if lacking := await missing(connection, announcements.read(client)):
        names = ", ".join(str(one) for one in lacking[:_SHOWN])
        raise RecoveryNeededError(f"{len(lacking)} announcements are not in the database, run `ddor recover`: {names}")


async def missing(
    connection: asyncpg.Connection[Any], listed: AsyncGenerator[Announced | Unreadable, None]
) -> list[Announced]:
    """The announcements without a row in the database.

    DigestConflictError if the digests of a revision differ. UnreadableAnnouncementError if a record cannot be parsed
    and no operator has disregarded it.
    """
    rows = await connection.fetch(SQL["published"])
    known = {(row["week"], row["revision"]): row["digest"] for row in rows}
    final = {row["week"] for row in await connection.fetch(SQL["final_weeks"])}
    set_aside = await disregarded(connection)
    lacking: list[Announced] = []
    unreadable: list[str] = []
    async with aclosing(listed):
        async for one in listed:
            if isinstance(one, Unreadable):
                if (str(one.address), one.sha256) not in set_aside:
                    unreadable.append(f"{one.address} ({one.why})")
            elif one.final and (one.week, one.revision) not in known:
                # It hides no revision: the one that it names was never published.
                announcements.log_foreign(one.offset, "declares a revision final that was never announced")
            elif _is_new(one, known, final):
                lacking.append(one)
    if unreadable:
        raise UnreadableAnnouncementError(
            f"{len(unreadable)} records claim to be announcements and cannot be parsed, so nothing is published; "
            f"see the runbook unreadable-announcement: {', '.join(unreadable[:_SHOWN])}"
        )
    return lacking


def _is_new(one: Announced, known: dict[tuple[date, int], str], final: set[date]) -> bool:
    """Whether neither the database nor an earlier record has this announcement. Adds it to `known` or `final`."""
    digest = known.get((one.week, one.revision), one.digest)
    if digest != one.digest:
        raise DigestConflictError(f"{one} was published with digest {one.digest}; the database has {digest}")
    if one.final:
        is_new = one.week not in final
        final.add(one.week)
        return is_new
    is_new = (one.week, one.revision) not in known
    known[one.week, one.revision] = one.digest
    return is_new


async def complete_inputs(
    connection: asyncpg.Connection[Any], documents: Iterable[Mapping[str, Any]], current: ReportInputs
) -> list[str]:
    """Store the current inputs that these documents name. Returns the named inputs that are missing after that."""
    named = {sha256: name for one in documents for name, sha256 in one["inputs"].items()}
    lacking = named.keys() - {row["sha256"] for row in await connection.fetch(SQL["inputs"], list(named))}
    current = current.with_policies(await connection.fetchval(SQL["newest_policies"]))
    for name, content in current.contents.items():
        if current.digests[name] in lacking:
            await connection.execute(SQL["add_input"], current.digests[name], name, content)
            lacking = lacking - {current.digests[name]}
    return sorted(named[sha256] for sha256 in lacking)


async def disregarded(connection: asyncpg.Connection[Any]) -> set[tuple[str, str]]:
    """The address and SHA-256 of each unreadable record that an operator has disregarded."""
    return {(row["subject"], row["sha256"]) for row in await connection.fetch(SQL["disregarded"])}


async def disregard(connection: asyncpg.Connection[Any], client: Mapping[str, Any], where: str, by: str) -> None:
    """Record that the unreadable record at `where` (topic/partition/offset) announces nothing.

    NothingToDisregardError if there is no unreadable record at this address.
    """
    async with aclosing(announcements.read(client)) as listed:
        found = [one async for one in listed if isinstance(one, Unreadable) and str(one.address) == where]
    if not found:
        raise NothingToDisregardError(f"{where}: is not the address of an unreadable announcement")
    detail = {"sha256": found[0].sha256, "why": found[0].why}
    await connection.execute(SQL["add_action"], by, DISREGARD, where, detail)


async def restore(
    connection: asyncpg.Connection[Any],
    store: Store,
    one: Announced,
    by: str,
    now: datetime,
    *,
    complete: Mapping[str, Any] | None = None,
) -> None:
    """Write an announced revision to the database, and set the week's state to published or final.

    `complete` is its whole document, if there is a copy of it; otherwise the announcement has to do.
    """
    close = (await store.closes()).get(one.week)
    state = close.state if close else State.OPEN
    if one.final:
        if state is State.CLOSED:
            await store.move(one.week, state, State.PUBLISHED, now, by=by)
        await store.move(one.week, State.PUBLISHED, State.FINAL, now, by=by)
        return
    data = dict(one.data)
    tip = await connection.fetchrow(SQL["tip"])
    await connection.execute(
        SQL["add_report"], one.week, one.revision, data["cause"], one.digest, data["figures_digest"],
        data["previous_digest"], complete or document(one), one.published_at, tip["sequence"] + 1 if tip else 1,
    )  # fmt: skip
    await connection.execute(SQL["restore_close"], one.week, Vector.from_json(data["offsets"]).to_json())
    if state not in WRITTEN:
        await store.move(one.week, state, State.PUBLISHED, now, by=by)


def document(one: Announced) -> dict[str, Any]:
    """The document of a revision, as far as its announcement contains it."""
    data = one.data
    top = data["top"]
    declining = [row for row in data["jurisdictions"] or () if row["declined"]]
    tied = sum(row["declined"] == top[-1]["declined"] for row in declining[len(top) :]) if top else 0
    derived = {"top_declined": sum(row["declined"] for row in top), "tied_at_tenth": tied if len(top) == 10 else 0}
    return {**data, **derived, "jurisdictions": data["jurisdictions"] or [], "recovered": True}
