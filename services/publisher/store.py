"""The publisher's transactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import asyncpg

from schemas.detainer import Kind
from schemas.report import Cause, Report, announcement, report_id
from schemas.topics import CONTENT_TYPE, REPORT_READY
from schemas.week import ReportingWeek
from services.publisher import report as reporting
from services.publisher.closing import Close, Offsets
from services.publisher.report import Rules, Snapshot
from services.runtime import queries
from services.runtime.errors import InvariantError

SQL = queries.load("services.publisher")


class Store:
    """Closing weeks over one connection, which must hold the lead (see `lead`)."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def lead(self) -> bool:
        """Become the one publisher that closes and sends, for as long as this session lives."""
        return bool(await self._connection.fetchval(SQL["try_lead"]))

    async def closes(self) -> dict[date, Close]:
        """All weeks on their way or published."""
        rows = await self._connection.fetch(SQL["closes"])
        return {row["week"]: Close(row["state"], row["barrier"]) for row in rows}

    async def positions(self) -> Offsets:
        """The next offset of each partition."""
        return _vector(await self._connection.fetch(SQL["positions"]))

    async def halted(self) -> list[str]:
        """The partitions that are halted."""
        rows = await self._connection.fetch(SQL["positions"])
        return [f"{row['topic']}/{row['partition']}" for row in rows if row["halted_reason"] is not None]

    async def store_barrier(self, week: ReportingWeek, barrier: Offsets, now: datetime) -> None:
        """Keep the barrier of a week; one that is there already stays."""
        await self._connection.execute(SQL["store_barrier"], week.first, barrier, now)

    async def publish(self, week: ReportingWeek, rules: Rules, now: datetime) -> Report:
        """Prove, build and write revision 1 with its announcement, in one transaction.

        InvariantError when counters and ledger differ: then nothing is written.
        """
        inputs = rules.inputs()
        digests = reporting.digests(inputs)
        async with self._connection.transaction(isolation="repeatable_read"):
            snapshot = await self._snapshot(week)
            report = reporting.build(
                week=week,
                snapshot=snapshot,
                rules=rules,
                inputs=digests,
                revision=1,
                cause="initial",
                previous_digest=None,
            )
            for name, content in inputs.items():
                await self._connection.execute(SQL["add_input"], digests[name], name, content)
            await self._write(report, "initial", now)
            await self._connection.execute(SQL["mark_published"], week.first)
        return report

    async def _snapshot(self, week: ReportingWeek) -> Snapshot:
        """All that the report needs; the first statement fixes the snapshot and reads the vector."""
        fetch = self._connection.fetch
        rows = await fetch(SQL["positions"])
        await self._prove(week)
        counters = await fetch(SQL["counters"], week.first)
        heard = await fetch(SQL["agencies_heard"], week.first)
        return Snapshot(
            vector=_vector(rows),
            counters={(row["jurisdiction"], Kind(row["kind"])): row["n"] for row in counters},
            heard={(row["agency"], Kind(row["kind"])): row["n"] for row in heard},
            forms={row["form"]: row["n"] for row in await fetch(SQL["forms"], week.first)},
            declines=[Details(row) for row in await fetch(SQL["declines"], week.first)],
            withdrawn=await self._connection.fetchval(SQL["withdrawn"], week.first),
            rejected_records=sum(row["rejected"] for row in rows),
        )

    async def _prove(self, week: ReportingWeek) -> None:
        """Counters equal the ledger, and every record is accounted for: a report that cannot show this is refused."""
        if unequal := await self._connection.fetch(SQL["unequal"], week.first):
            row = unequal[0]
            raise InvariantError(
                f"counters differ from the ledger in {len(unequal)} cells of {week}; the first: {row['jurisdiction']}"
                f" {row['kind']} counted {row['counted']}, in the ledger {row['in_ledger']}"
            )
        if missing := await self._connection.fetch(SQL["unaccounted"]):
            row = missing[0]
            raise InvariantError(
                f"records are not accounted for in {len(missing)} partitions; the first: "
                f"{row['topic']}/{row['partition']}: {row['records']} records, {row['facts']} facts, "
                f"{row['duplicates']} duplicates, {row['rejected']} rejected of which {row['rejects']} kept"
            )

    async def _write(self, report: Report, cause: Cause, now: datetime) -> None:
        digest = report.digest
        figures = report.model_dump(mode="json") | {"digest": digest}
        await self._connection.execute(
            SQL["add_report"],
            report.week_start,
            report.revision,
            cause,
            digest,
            report.figures_digest,
            report.previous_digest,
            figures,
            now,
        )
        await self._connection.execute(
            SQL["add_outbox"],
            REPORT_READY,
            report.week_start.isoformat().encode(),
            announcement(report, now.isoformat()),
            {"content-type": CONTENT_TYPE, "id": report_id(report.week_start, report.revision)},
            round(now.timestamp() * 1000),
            now,
        )


class Details:
    """One decline as the report needs it, over a row of `declines`."""

    __slots__ = ("citizenship", "declined_at", "issued_at", "offenses", "reason", "recorded_at")

    def __init__(self, row: asyncpg.Record) -> None:
        self.reason: str | None = row["reason"]
        self.citizenship: str | None = row["citizenship"]
        self.offenses: list[str] | None = row["offenses"]
        self.issued_at: datetime = row["issued_at"]
        self.declined_at: datetime = row["declined_at"]
        self.recorded_at: datetime = row["recorded_at"]


def _vector(rows: list[asyncpg.Record]) -> dict[str, dict[str, int]]:
    vector: dict[str, dict[str, int]] = {}
    for row in rows:
        vector.setdefault(row["topic"], {})[str(row["partition"])] = row["next_offset"]
    return vector


def states(closes: Mapping[date, Close]) -> dict[str, int]:
    """How many weeks are in each state, 0 too: a gauge that is not set again would keep its last value."""
    counts = Counter(one.state for one in closes.values())
    return {state: counts[state] for state in ("requested", "draining", "published")}
