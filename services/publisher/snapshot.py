"""Reads the data of a report in one REPEATABLE READ transaction. Its first statement reads the vector."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from schemas.detainer import Kind
from schemas.log import Partition, Vector
from schemas.week import ReportingWeek
from services.publisher import audit
from services.publisher.gates import Evidence
from services.publisher.line_list import StoredList, cells_from_json
from services.publisher.queries import SQL
from services.publisher.report import Snapshot
from services.publisher.restating import Version
from services.runtime.errors import InvariantError


class Details:
    """One decline, from a row of the query `declines`."""

    __slots__ = ("citizenship", "declined_at", "issued_at", "jurisdiction", "offenses", "reason", "recorded_at")

    def __init__(self, row: asyncpg.Record) -> None:
        self.jurisdiction: str = row["jurisdiction"]
        self.reason: str | None = row["reason"]
        self.citizenship: str | None = row["citizenship"]
        self.offenses: list[str] | None = row["offenses"]
        self.issued_at: datetime = row["issued_at"]
        self.declined_at: datetime = row["declined_at"]
        self.recorded_at: datetime = row["recorded_at"]


class SnapshotReader:
    """Reads the data of reports over a connection that is in a transaction."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def vector(self) -> tuple[Vector, dict[Partition, str]]:
        """The positions, and the halted partitions with their reasons. Call it first: it fixes the snapshot."""
        self._positions = await self._connection.fetch(SQL["positions"])
        self._accounted = False
        return vector_of(self._positions), halted_in(self._positions)

    async def prove(self, week: date) -> None:
        """Prove that the counters equal the ledger and every record is accounted for. Raises InvariantError if not.

        The records below the proven positions were accounted for when an earlier report was written, and are counted
        again only by an audit. No report is written after an audit that found a difference.
        """
        if unequal := await self._connection.fetch(SQL["unequal"], week):
            raise InvariantError(
                f"counters differ from the ledger in {len(unequal)} cells; the first: {audit.of_cell(unequal[0])}"
            )
        if self._accounted:  # covers all partitions, so once in each snapshot is enough
            return
        last = await self._connection.fetchrow(SQL["last_audit"])
        if last is not None and last["outcome"]:
            raise InvariantError(f"the audit of {last['at']:%Y-%m-%d %H:%M} UTC found: {last['outcome']}")
        if missing := await self._unaccounted():
            first = audit.of_partition(missing[0])
            raise InvariantError(f"records are not accounted for in {len(missing)} partitions; the first: {first}")
        await self._connection.execute(SQL["keep_proof"])
        self._accounted = True

    async def _unaccounted(self) -> list[asyncpg.Record]:
        """The partitions with records that are not accounted for."""
        is_unproven = await self._connection.fetchval(SQL["is_unproven"])
        if not is_unproven and not await self._connection.fetch(SQL["unaccounted_since"]):
            return []
        # There is no proof yet, or its offsets are those of a log that was replaced: count all records.
        return await self._connection.fetch(SQL["unaccounted"], timeout=audit.STATEMENT_SECONDS)

    async def read(self, week: date, vector: Vector) -> Snapshot:
        """Read the data of one week."""
        fetch = self._connection.fetch
        counters = await fetch(SQL["counters"], week)
        heard = await fetch(SQL["agencies_heard"], week)
        return Snapshot(
            vector=vector,
            counters={(row["jurisdiction"], Kind(row["kind"])): row["n"] for row in counters},
            heard={(row["agency"], Kind(row["kind"])): row["n"] for row in heard},
            attested={
                (row["agency"], kind): row[kind.value]
                for row in await fetch(SQL["attested"], week)
                for kind in Kind
                if row[kind.value] is not None
            },
            forms={row["form"]: row["n"] for row in await fetch(SQL["forms"], week)},
            declines=[Details(row) for row in await fetch(SQL["declines"], week)],
            withdrawn=await self._connection.fetchval(SQL["withdrawn"], week),
            rejected_records=sum(row["rejected"] for row in self._positions),
            audited_at=await self._connection.fetchval(SQL["last_audit"]),
            lists=await self._lists(week),
        )

    async def policies(self) -> bytes | None:
        """The newest registry of policies limiting detainers, as an input of a report; None if there is none."""
        content: bytes | None = await self._connection.fetchval(SQL["newest_policies"])
        return content

    async def _lists(self, week: date) -> list[StoredList] | None:
        if await self._connection.fetchval(SQL["was_recovered"], week, None):
            return None
        return stored_lists(await self._connection.fetch(SQL["line_lists"], week))

    async def changed(self, week: date, before: Vector) -> list[list[Version]]:
        """All versions of each identity that may have changed the week since `before`."""
        rows = await self._connection.fetch(
            SQL["changed_identities"],
            week, [one.topic for one in before], [one.number for one in before], list(before.values()),
        )  # fmt: skip
        kinds, agencies, ids = ([row[name] for row in rows] for name in ("kind", "agency", "detainer_id"))
        grouped: dict[tuple[str, int, Any], list[Version]] = defaultdict(list)
        for row in await self._connection.fetch(SQL["versions"], kinds, agencies, ids):
            kind = Kind(row["kind"])
            grouped[kind, row["agency"], row["detainer_id"]].append(
                Version(
                    kind, row["version"], row["fingerprint"], row["week"], row["jurisdiction"], row["withdrawn"],
                    Partition(kind.topic, row["partition"]), row["kafka_offset"], row["redriven"],
                )
            )  # fmt: skip
        return list(grouped.values())

    async def evidence(
        self, week: ReportingWeek, snapshot: Snapshot, halted: Mapping[Partition, str], old: timedelta
    ) -> Evidence:
        """Read what the gates need. A decline is an old case if more than `old` passed from issue to record."""
        before: dict[str, list[int]] = defaultdict(list)
        for row in await self._connection.fetch(SQL["declines_before"], week.first):
            for agency in row["agencies"] or ():
                before[agency["agency"]].append(agency["declined"])
        return Evidence(
            declines=len(snapshot.declines),
            old_declines=sum(one.recorded_at - one.issued_at > old for one in snapshot.declines),
            unissued_declines=await self._connection.fetchval(SQL["unissued"], week.first),
            open_conflicts=await self._connection.fetchval(SQL["conflicts"], week.first),
            halted=halted,
            by_agency={agency: n for (agency, kind), n in snapshot.heard.items() if kind is Kind.DECLINED},
            weeks_before=before,
        )


def stored_lists(rows: Iterable[asyncpg.Record]) -> list[StoredList]:
    """Line lists from rows of the query `line_lists`."""
    return [StoredList(row["mode"], row["sha256"], row["content"], cells_from_json(row["cells"])) for row in rows]


def vector_of(rows: Iterable[asyncpg.Record]) -> Vector:
    """The positions, from rows of the query `positions`."""
    return Vector({Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows})


def halted_in(rows: Iterable[asyncpg.Record]) -> dict[Partition, str]:
    """The halted partitions and the reason of each, from rows of the query `positions`."""
    return {Partition(row["topic"], row["partition"]): row["halted_reason"] for row in rows if row["halted_reason"]}
