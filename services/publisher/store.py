"""The publisher's transactions: the states of weeks, and writing reports with proof, chain and outbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from schemas.report import (
    Figures,
    Flag,
    JurisdictionRow,
    Report,
    SignOff,
    Tables,
    announcement,
    final_notice,
    report_id,
)
from schemas.topics import CONTENT_TYPE, REPORT_LATEST, REPORT_READY
from schemas.week import ReportingCalendar, ReportingWeek
from services.publisher import closing, gates, report, restating
from services.publisher.closing import TRANSITIONS, Close, Offsets, State
from services.publisher.line_list import kept_cells
from services.publisher.report import Draft, Standing
from services.publisher.rules import Rules
from services.publisher.snapshot import SQL, Snapshots, vector_of
from services.runtime.errors import InvariantError
from services.runtime.logs import get

log = get(__name__)

SYSTEM = "publisher"
NO_REPORT = "there is no report of this week"
REFUSED = "refused: "


def refusal(error: InvariantError) -> str:
    """The outcome of a restatement that could not be proven."""
    return f"{REFUSED}{error}"


class _Held(Exception):  # noqa: N818  # leaves the transaction without writing
    def __init__(self, flags: Sequence[Flag]) -> None:
        super().__init__()
        self.flags = flags


@dataclass(frozen=True, slots=True)
class Positions:
    """The next offset of each partition, and which stand still and why."""

    vector: Offsets
    halted: Mapping[str, str]


class Store:
    """Closing weeks over one connection, which must hold the lead."""

    def __init__(self, connection: asyncpg.Connection[Any], calendar: ReportingCalendar, hold: timedelta) -> None:
        """`hold`: how long a gate holds a week at most."""
        self._connection = connection
        self._calendar = calendar
        self._hold_for = hold
        self._snapshots = Snapshots(connection)

    async def closes(self) -> dict[date, Close]:
        """All weeks that are on their way or written."""
        rows = await self._connection.fetch(SQL["closes"])
        return {
            row["week"]: Close(State(row["state"]), row["barrier"], row["held_until"], row["released"]) for row in rows
        }

    async def positions(self) -> Positions:
        """Where the aggregator is."""
        rows = await self._connection.fetch(SQL["positions"])
        halted = {f"{row['topic']}/{row['partition']}": row["halted_reason"] for row in rows if row["halted_reason"]}
        return Positions(vector_of(rows), halted)

    async def move(
        self, week: date, was: State, now_in: State, now: datetime, *, by: str = SYSTEM, why: str = ""
    ) -> None:
        """Change a week's state and keep the transition. KeyError for one that must not happen."""
        reason = TRANSITIONS[was, now_in]
        await self._connection.execute(SQL["set_state"], week, now_in)
        await self._connection.execute(SQL["add_transition"], week, now, was, now_in, by, why or reason)

    async def request(self, week: date, by: str, now: datetime) -> None:
        """Ask for a week of the past to be closed; a week that is known already stays as it is."""
        async with self._connection.transaction():
            if await self._connection.execute(SQL["request_close"], week) == "INSERT 0 1":
                await self.move(week, State.OPEN, State.REQUESTED, now, by=by)

    async def set_barrier(self, week: date, was: State, barrier: Offsets, now: datetime) -> None:
        """Keep the barrier of a week; one that is there already stays."""
        async with self._connection.transaction():
            if await self._connection.execute(SQL["set_barrier"], week, barrier) == "INSERT 0 1":
                await self.move(week, was, State.DRAINING, now)

    async def release(self, week: date, by: str, note: str, now: datetime) -> bool:
        """Let a held week go out; False when it is not held or was released before."""
        return bool(await self._connection.execute(SQL["release"], week, by, now, note) == "UPDATE 1")

    async def publish(
        self, week: ReportingWeek, close: Close, rules: Rules, now: datetime, provisional_since: datetime
    ) -> list[Report]:
        """Prove, ask the gates, and write revision 1 and the restatements that are due.

        Answers what was written: nothing when a gate holds the week. InvariantError when counters and ledger differ:
        then nothing is written either.
        """
        try:
            async with self._connection.transaction(isolation="repeatable_read"):
                return await self._publish(week, close, rules, now, provisional_since)
        except _Held as held:
            await self._hold(week, close, held.flags, now)
            return []

    async def _publish(
        self, week: ReportingWeek, close: Close, rules: Rules, now: datetime, provisional_since: datetime
    ) -> list[Report]:
        vector, halted = await self._snapshots.vector()
        await self._snapshots.prove(week.first)
        snapshot = await self._snapshots.read(week.first, vector)
        limits = rules.thresholds
        evidence = await self._snapshots.evidence(week, snapshot, halted, timedelta(days=limits.old_days))
        flags = gates.flags(evidence, limits)
        if flags and close.holds(now):
            raise _Held(flags)
        standing = Standing(1, "initial", None, flags=tuple(flags), sign_offs=await self._sign_offs(week.first))
        written = [await self._write(report.draft(week, snapshot, rules), standing, now)]
        await self.move(week.first, close.state, State.CLOSED, now)
        for row in await self._connection.fetch(SQL["newest"], week.first, provisional_since):
            restated = await self._restate_scheduled(row, vector, rules, now)
            written += [restated] if restated else []
        return written

    async def _restate_scheduled(
        self, row: asyncpg.Record, vector: Offsets, rules: Rules, now: datetime
    ) -> Report | None:
        """The restatement of another week that is due. One that cannot be proven holds up no other."""
        try:
            async with self._connection.transaction():
                return await self._restate(row, vector, rules, Standing(row["revision"] + 1, "scheduled", None), now)
        except InvariantError as error:
            log.exception("restatement-refused", week=str(row["week"]))
            await self._connection.execute(SQL["add_refusal"], row["week"], SYSTEM, now, refusal(error))
            return None

    async def restate_requested(self, rules: Callable[[], Rules], now: datetime) -> list[Report]:
        """Write the revisions that operators asked for. A request waits while the positions are behind its report."""
        written: list[Report] = []
        for request in await self._connection.fetch(SQL["restatements"]):
            try:
                async with self._connection.transaction(isolation="repeatable_read"):
                    written += await self._restate_requested(request, rules, now)
            except InvariantError as error:
                log.exception("restatement-refused", week=str(request["week"]))
                await self._connection.execute(SQL["finish_restatement"], request["id"], refusal(error))
        return written

    async def _restate_requested(
        self, request: asyncpg.Record, rules: Callable[[], Rules], now: datetime
    ) -> list[Report]:
        vector, _ = await self._snapshots.vector()
        row = await self._connection.fetchrow(SQL["newest_of"], request["week"])
        if row is None:
            await self._connection.execute(SQL["finish_restatement"], request["id"], NO_REPORT)
            return []
        if closing.shortfall(row["offsets"], vector):
            return []
        reason = f"{request['by']}: {request['reason']}"
        standing = Standing(row["revision"] + 1, "correction", None, reason=reason)
        restated = await self._restate(row, vector, rules(), standing, now)
        outcome = f"revision {restated.revision}" if restated else "no figure has changed"
        await self._connection.execute(SQL["finish_restatement"], request["id"], outcome)
        return [restated] if restated else []

    async def refused(self) -> dict[date, str]:
        """The weeks with a restatement that could not be proven, and none that could since; what was found."""
        return {row["week"]: row["outcome"] for row in await self._connection.fetch(SQL["refused"], REFUSED)}

    async def _restate(
        self, row: asyncpg.Record, vector: Offsets, rules: Rules, standing: Standing, now: datetime
    ) -> Report | None:
        """The next revision of a week, if any of its figures has changed; a new name alone is no figure.

        After a restore from a backup the positions may be behind a revision that was recovered: then it stands.
        """
        former, known = row["figures"], row["offsets"]
        if closing.shortfall(known, vector):
            return None
        week = self._calendar.week(row["week"])
        draft = report.draft(week, await self._snapshots.read(week.first, vector), rules)
        if draft.figures.digest == former["figures_digest"]:
            return None
        await self._snapshots.prove(week.first)
        standing = await self._explained(standing, week.first, former, known, draft.figures)
        # A recovered revision has no tables to compare: its digest tells whether they changed, but for a line list that
        # may have been in it.
        comparable = "tables" in former or rules.line_list_mode != "off"
        if not standing.changes and not standing.table_changes and comparable:
            return None
        first = row["first_offsets"]
        late = restating.late(week.first, await self._snapshots.changed(week.first, first), first)
        return await self._write(draft, replace(standing, late=late), now)

    async def _explained(
        self, standing: Standing, week: date, former: Mapping[str, Any], known: Offsets, figures: Figures
    ) -> Standing:
        """With what differs from the `former` revision, which knew the facts below `known`, and why."""
        if former.get("recovered") and not former["jurisdictions"]:  # its announcement was too large to hold them
            return standing
        rows = [JurisdictionRow.model_validate(one) for one in former["jurisdictions"]]
        identities = await self._snapshots.changed(week, known)
        listed = restating.changes(rows, figures.jurisdictions, restating.causes(week, identities, known))
        if wrong := restating.unexplained(listed):
            one = wrong[0]
            raise InvariantError(f"{week}: causes do not sum to the difference of {one.geoid} {one.kind}")
        # A revision that was recovered from its announcement has no tables to compare with.
        tables = Tables.model_validate(former["tables"]) if "tables" in former else figures.tables
        rewritten = restating.table_changes(tables, figures.tables)
        return replace(standing, changes=tuple(listed), table_changes=tuple(rewritten))

    async def finalise(self, now: datetime, provisional_since: datetime) -> None:
        """Mark published weeks whose first report is on the topic, and make final those whose time is over."""
        async with self._connection.transaction():
            for row in await self._connection.fetch(SQL["sent_weeks"]):
                await self.move(row["week"], State.CLOSED, State.PUBLISHED, now)
        for row in await self._connection.fetch(SQL["over"], provisional_since):
            async with self._connection.transaction():
                value, event_id = final_notice(row["week"], row["revision"], row["digest"], now.isoformat())
                await self._send(REPORT_READY, row["week"], value, event_id, now)
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

    async def _write(self, draft: Draft, standing: Standing, now: datetime) -> Report:
        """Build the document as the next of the chain, and keep it with its inputs and announcements.

        It names the digest of the report before it, of whatever week: none can be taken out unseen.
        """
        tip = await self._connection.fetchrow(SQL["tip"])
        linked = replace(standing, previous_digest=tip["digest"] if tip else None)
        document = report.build(draft, linked)
        for name, content in draft.rules.contents.items():
            await self._connection.execute(SQL["add_input"], draft.rules.digests[name], name, content)
        digest = document.digest
        await self._connection.execute(
            SQL["add_report"], document.week_start, document.revision, document.cause, digest, document.figures_digest,
            document.previous_digest, document.model_dump(mode="json") | {"digest": digest}, now,
            tip["sequence"] + 1 if tip else 1,
        )  # fmt: skip
        listed = report.made_list(draft.snapshot, draft.rules)
        if listed is not None and listed.is_new:
            await self._connection.execute(
                SQL["add_line_list"], document.week_start, document.revision, listed.mode, listed.sha256,
                listed.content, kept_cells(listed.cells),
            )  # fmt: skip
        value = announcement(document, digest, now.isoformat())
        event_id = report_id(document.week_start, document.revision)
        for topic in (REPORT_READY, REPORT_LATEST):
            await self._send(topic, document.week_start, value, event_id, now)
        return document

    async def _send(self, topic: str, week: date, value: bytes, event_id: str, now: datetime) -> None:
        headers = {"content-type": CONTENT_TYPE, "id": event_id}
        stamp = round(now.timestamp() * 1000)
        await self._connection.execute(SQL["add_outbox"], topic, str(week).encode(), value, headers, stamp, now)


def states(closes: Mapping[date, Close]) -> dict[str, int]:
    """How many weeks are in each state."""
    counts = Counter(one.state for one in closes.values())
    return {state: counts[state] for state in State if state is not State.OPEN}
