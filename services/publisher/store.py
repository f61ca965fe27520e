"""The publisher's transactions: changes of state, and reports with their proof, chain and outbox rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from schemas.log import Partition, Vector
from schemas.report import Figures, Flag, JurisdictionRow, SignOff, Tables
from schemas.week import ReportingCalendar, ReportingWeek
from services.publisher import gates, report, restating
from services.publisher.closing import TRANSITIONS, Close, State
from services.publisher.inputs import ReportInputs
from services.publisher.queries import SQL
from services.publisher.report import RevisionMetadata
from services.publisher.revision_writer import RevisionWriter, WrittenRevision
from services.publisher.snapshot import SnapshotReader, halted_in, vector_of
from services.runtime import tracing
from services.runtime.errors import InvariantError
from services.runtime.logs import get

log = get(__name__)

SYSTEM = "publisher"
NO_REPORT = "there is no report of this week"
REFUSED = "refused: "


def refusal(error: InvariantError) -> str:
    """The outcome of a restatement that could not be proven."""
    return f"{REFUSED}{error}"


class _HeldByGate(Exception):  # noqa: N818  # ends the transaction without writing
    def __init__(self, flags: Sequence[Flag]) -> None:
        super().__init__()
        self.flags = flags


@dataclass(frozen=True, slots=True)
class Positions:
    """The aggregators' positions, and the halted partitions with their reasons."""

    vector: Vector
    halted: Mapping[Partition, str]


class Store:
    """Transactions over one connection. To close weeks, the connection must hold the lead."""

    def __init__(self, connection: asyncpg.Connection[Any], calendar: ReportingCalendar, hold: timedelta) -> None:
        """`hold`: the maximum time for which a gate holds a week."""
        self._connection = connection
        self._calendar = calendar
        self._hold_for = hold
        self._snapshots = SnapshotReader(connection)
        self._writer = RevisionWriter(connection)

    async def closes(self) -> dict[date, Close]:
        """The state of each week that is not open."""
        rows = await self._connection.fetch(SQL["closes"])
        return {
            row["week"]: Close(
                State(row["state"]),
                None if row["barrier"] is None else Vector.from_json(row["barrier"]),
                row["held_until"],
                row["released"],
            )
            for row in rows
        }

    async def positions(self) -> Positions:
        """The current positions."""
        rows = await self._connection.fetch(SQL["positions"])
        return Positions(vector_of(rows), halted_in(rows))

    async def move(
        self, week: date, was: State, now_in: State, now: datetime, *, by: str = SYSTEM, why: str = ""
    ) -> None:
        """Change the state of a week and record the transition. KeyError if it is not in TRANSITIONS."""
        await self._record(week, was, now_in, now, by=by, why=why)
        await self._connection.execute(SQL["set_state"], week, now_in)

    async def _record(
        self, week: date, was: State, now_in: State, now: datetime, *, by: str = SYSTEM, why: str = ""
    ) -> None:
        reason = TRANSITIONS[was, now_in]
        await self._connection.execute(SQL["add_transition"], week, now, was, now_in, by, why or reason)

    async def request(self, week: date, by: str, now: datetime) -> None:
        """Request the close of a past week. A week that already has a row is not changed."""
        async with self._connection.transaction():
            if await self._connection.execute(SQL["request_close"], week) == "INSERT 0 1":
                # The row has this state: an operator may request a close, but not set another state.
                await self._record(week, State.OPEN, State.REQUESTED, now, by=by)

    async def set_barrier(self, week: date, was: State, barrier: Vector, now: datetime) -> None:
        """Store the barrier of a week, unless it already has one."""
        async with self._connection.transaction():
            if await self._connection.execute(SQL["set_barrier"], week, barrier.to_json()) == "INSERT 0 1":
                await self.move(week, was, State.DRAINING, now)

    async def release(self, week: date, by: str, note: str, now: datetime) -> bool:
        """Release a held week. False if it is not held or already released."""
        return bool(await self._connection.execute(SQL["release"], week, by, now, note) == "UPDATE 1")

    async def publish(
        self, week: ReportingWeek, close: Close, inputs: ReportInputs, now: datetime, provisional_since: datetime
    ) -> list[WrittenRevision]:
        """Prove the counts, evaluate the gates, and write revision 1 and the restatements that are due.

        Returns the written revisions; none if a gate holds the week. InvariantError if the proof fails; then nothing is
        written.
        """
        try:
            async with self._connection.transaction(isolation="repeatable_read"):
                return await self._publish(week, close, inputs, now, provisional_since)
        except _HeldByGate as held:
            await self._hold(week, close, held.flags, now)
            return []

    async def _publish(
        self, week: ReportingWeek, close: Close, inputs: ReportInputs, now: datetime, provisional_since: datetime
    ) -> list[WrittenRevision]:
        vector, halted = await self._snapshots.vector()
        waits = close.state is State.HELD and close.holds(now)
        if not waits:  # a held week was proven before and is proven again below: the proof reads the whole ledger
            with tracing.span("prove"):
                await self._snapshots.prove(week.first)
        with tracing.span("read"):
            snapshot = await self._snapshots.read(week.first, vector)
        limits = inputs.thresholds
        with tracing.span("evaluate gates"):
            evidence = await self._snapshots.evidence(week, snapshot, halted, timedelta(days=limits.old_days))
            flags = gates.flags(evidence, limits)
        if flags and close.holds(now):
            raise _HeldByGate(flags)
        if waits:
            with tracing.span("prove"):
                await self._snapshots.prove(week.first)
        inputs = inputs.with_policies(await self._snapshots.policies())
        metadata = RevisionMetadata(1, "initial", None, flags=tuple(flags), sign_offs=await self._sign_offs(week.first))
        with tracing.span("write"):
            written = [await self._writer.write(report.draft(week, snapshot, inputs), metadata, now)]
            await self.move(week.first, close.state, State.CLOSED, now)
        with tracing.span("restate"):
            for row in await self._connection.fetch(SQL["newest"], week.first, provisional_since):
                restated = await self._restate_scheduled(row, vector, inputs, now)
                written += [restated] if restated else []
        return written

    async def _restate_scheduled(
        self, row: asyncpg.Record, vector: Vector, inputs: ReportInputs, now: datetime
    ) -> WrittenRevision | None:
        """Restate another week if a figure has changed. A failed proof does not affect other weeks."""
        try:
            async with self._connection.transaction():
                return await self._restate(
                    row, vector, inputs, RevisionMetadata(row["revision"] + 1, "scheduled", None), now
                )
        except InvariantError as error:
            log.exception("restatement-refused", week=str(row["week"]))
            await self._connection.execute(SQL["add_refusal"], row["week"], SYSTEM, now, refusal(error))
            return None

    async def restate_requested(self, inputs: Callable[[], ReportInputs], now: datetime) -> list[WrittenRevision]:
        """Write the requested revisions. A request waits until the positions reach the newest revision's vector."""
        written: list[WrittenRevision] = []
        for request in await self._connection.fetch(SQL["restatements"]):
            try:
                async with self._connection.transaction(isolation="repeatable_read"):
                    written += await self._restate_requested(request, inputs, now)
            except InvariantError as error:
                log.exception("restatement-refused", week=str(request["week"]))
                await self._connection.execute(SQL["finish_restatement"], request["id"], refusal(error))
        return written

    async def _restate_requested(
        self, request: asyncpg.Record, inputs: Callable[[], ReportInputs], now: datetime
    ) -> list[WrittenRevision]:
        vector, _ = await self._snapshots.vector()
        row = await self._connection.fetchrow(SQL["newest_of"], request["week"])
        if row is None:
            await self._connection.execute(SQL["finish_restatement"], request["id"], NO_REPORT)
            return []
        if Vector.from_json(row["offsets"]).shortfall(vector):
            return []
        reason = f"{request['by']}: {request['reason']}"
        metadata = RevisionMetadata(row["revision"] + 1, "correction", None, reason=reason)
        used = inputs().with_policies(await self._snapshots.policies())
        restated = await self._restate(row, vector, used, metadata, now)
        outcome = f"revision {restated.revision}" if restated else "no figure has changed"
        await self._connection.execute(SQL["finish_restatement"], request["id"], outcome)
        return [restated] if restated else []

    async def refused(self) -> dict[date, str]:
        """The weeks whose last restatement could not be proven, with the finding."""
        return {row["week"]: row["outcome"] for row in await self._connection.fetch(SQL["refused"], REFUSED)}

    async def _restate(
        self, row: asyncpg.Record, vector: Vector, inputs: ReportInputs, metadata: RevisionMetadata, now: datetime
    ) -> WrittenRevision | None:
        """Write the next revision of a week if one of its figures has changed. A new name is not a figure.

        After a restore from a backup the positions may be below the vector of a recovered revision. Then nothing is
        written.
        """
        former, known = row["figures"], Vector.from_json(row["offsets"])
        if known.shortfall(vector):
            return None
        week = self._calendar.week(row["week"])
        draft = report.draft(week, await self._snapshots.read(week.first, vector), inputs)
        if draft.digest == former["figures_digest"]:
            return None
        await self._snapshots.prove(week.first)
        metadata = await self._explained(metadata, week.first, former, known, draft.figures)
        # A recovered revision has no tables to compare. A different digest means that they have changed, unless the
        # revision may have had a line list.
        comparable = "tables" in former or inputs.line_list_mode != "off"
        if not metadata.changes and not metadata.table_changes and comparable:
            return None
        first = Vector.from_json(row["first_offsets"])
        late = restating.late(week.first, await self._snapshots.changed(week.first, first), first)
        return await self._writer.write(draft, replace(metadata, late=late), now)

    async def _explained(
        self, metadata: RevisionMetadata, week: date, former: Mapping[str, Any], known: Vector, figures: Figures
    ) -> RevisionMetadata:
        """Add the changes since the `former` revision, whose vector is `known`, and the cause of each."""
        if former.get("recovered") and not former["jurisdictions"]:  # its announcement was too large for them
            return metadata
        rows = [JurisdictionRow.model_validate(one) for one in former["jurisdictions"]]
        identities = await self._snapshots.changed(week, known)
        listed = restating.changes(rows, figures.jurisdictions, restating.causes(week, identities, known))
        if wrong := restating.unexplained(listed):
            one = wrong[0]
            raise InvariantError(f"{week}: causes do not sum to the difference of {one.geoid} {one.kind}")
        # A revision that was recovered from its announcement has no tables to compare with.
        tables = Tables.model_validate(former["tables"]) if "tables" in former else figures.tables
        rewritten = restating.table_changes(tables, figures.tables)
        return replace(metadata, changes=tuple(listed), table_changes=tuple(rewritten))

    async def is_over(self, provisional_since: datetime) -> bool:
        """Whether `finalise` would make a week final."""
        return bool(await self._connection.fetch(SQL["over"], provisional_since))

    async def finalise(self, now: datetime, provisional_since: datetime) -> None:
        """Mark weeks as published when their first report is on the topic, and as final after the restatement time."""
        async with self._connection.transaction():
            for row in await self._connection.fetch(SQL["sent_weeks"]):
                await self.move(row["week"], State.CLOSED, State.PUBLISHED, now)
        for row in await self._connection.fetch(SQL["over"], provisional_since):
            async with self._connection.transaction():
                await self._writer.announce_final(row["week"], row["revision"], row["digest"], now)
                await self.move(row["week"], State.PUBLISHED, State.FINAL, now)

    async def _hold(self, week: ReportingWeek, close: Close, flags: Sequence[Flag], now: datetime) -> None:
        because = [flag.model_dump(mode="json") for flag in flags]
        async with self._connection.transaction():
            await self._connection.execute(SQL["hold"], week.first, now + self._hold_for, because)
            if close.state is not State.HELD:
                why = "; ".join(f"{flag.gate}: {flag.detail}" for flag in flags)
                await self.move(week.first, close.state, State.HELD, now, why=why)

    async def _sign_offs(self, week: date) -> tuple[SignOff, ...]:
        row = await self._connection.fetchrow(SQL["close"], week)
        if row is None or row["released_at"] is None:
            return ()
        signed = {"by": row["released_by"], "at": row["released_at"].isoformat(), "note": row["release_note"]}
        return (SignOff.model_validate(signed),)


def states(closes: Mapping[date, Close]) -> dict[str, int]:
    """The number of weeks in each state."""
    counts = Counter(one.state for one in closes.values())
    return {state: counts[state] for state in State if state is not State.OPEN}
