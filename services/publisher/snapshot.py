"""What a report reads: all in one REPEATABLE READ transaction, of which the vector is the first statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from schemas.detainer import Kind
from schemas.week import ReportingWeek
from services.publisher.closing import Offsets
from services.publisher.gates import Evidence
from services.publisher.line_list import Kept, cells_of
from services.publisher.report import Snapshot
from services.publisher.restating import Version
from services.runtime import queries
from services.runtime.errors import InvariantError

SQL = queries.load("services.publisher")


class Details:
    """One decline as the report needs it, over a row of `declines`."""

    __slots__ = ("citizenship", "declined_at", "issued_at", "jurisdiction", "offenses", "reason", "recorded_at")

    def __init__(self, row: asyncpg.Record) -> None:
        self.jurisdiction: str = row["jurisdiction"]
        self.reason: str | None = row["reason"]
        self.citizenship: str | None = row["citizenship"]
        self.offenses: list[str] | None = row["offenses"]
        self.issued_at: datetime = row["issued_at"]
        self.declined_at: datetime = row["declined_at"]
        self.recorded_at: datetime = row["recorded_at"]


class Snapshots:
    """Reads over a connection that is in a transaction."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def vector(self) -> tuple[Offsets, dict[str, str]]:
        """The positions, and the partitions that stand still. Call it first: it fixes what the transaction sees."""
        self._positions = await self._connection.fetch(SQL["positions"])
        self._accounted = False
        halted = {
            f"{row['topic']}/{row['partition']}": row["halted_reason"]
            for row in self._positions
            if row["halted_reason"]
        }
        return vector_of(self._positions), halted

    async def prove(self, week: date) -> None:
        """Counters equal the ledger, and every record is accounted for: a report that cannot show this is refused."""
        if unequal := await self._connection.fetch(SQL["unequal"], week):
            row = unequal[0]
            raise InvariantError(
                f"counters differ from the ledger in {len(unequal)} cells of {week}; the first: {row['jurisdiction']}"
                f" {row['kind']} counted {row['counted']}, in the ledger {row['in_ledger']}"
            )
        if self._accounted:  # of all partitions, in this snapshot
            return
        if missing := await self._connection.fetch(SQL["unaccounted"]):
            row = missing[0]
            raise InvariantError(
                f"records are not accounted for in {len(missing)} partitions; the first: "
                f"{row['topic']}/{row['partition']}: {row['records']} records, {row['facts']} facts, "
                f"{row['duplicates']} duplicates, {row['rejected']} rejected of which {row['rejects']} kept"
            )
        self._accounted = True

    async def read(self, week: date, vector: Offsets) -> Snapshot:
        """All that the figures of one week need."""
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
            lists=await self._lists(week),
        )

    async def _lists(self, week: date) -> list[Kept] | None:
        if await self._connection.fetchval(SQL["was_recovered"], week, None):
            return None
        return kept_lists(await self._connection.fetch(SQL["line_lists"], week))

    async def changed(self, week: date, before: Offsets) -> list[list[Version]]:
        """All versions of each identity that may have changed the week since `before`."""
        seen = [(topic, int(number), offset) for topic, numbers in before.items() for number, offset in numbers.items()]
        topics, numbers, offsets = zip(*seen, strict=True) if seen else ((), (), ())
        rows = await self._connection.fetch(SQL["changed_identities"], week, topics, numbers, offsets)
        kinds, agencies, ids = ([row[name] for row in rows] for name in ("kind", "agency", "detainer_id"))
        grouped: dict[tuple[str, int, Any], list[Version]] = defaultdict(list)
        for row in await self._connection.fetch(SQL["versions"], kinds, agencies, ids):
            grouped[row["kind"], row["agency"], row["detainer_id"]].append(
                Version(
                    row["kind"], row["version"], row["fingerprint"], row["week"], row["jurisdiction"],
                    row["withdrawn"], row["partition"], row["kafka_offset"], row["redriven"],
                )
            )  # fmt: skip
        return list(grouped.values())

    async def evidence(
        self, week: ReportingWeek, snapshot: Snapshot, halted: Mapping[str, str], old: timedelta
    ) -> Evidence:
        """What the gates look at; a decline is an old case when its issue is longer ago than `old`."""
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


def kept_lists(rows: Iterable[asyncpg.Record]) -> list[Kept]:
    """Line lists as they are kept."""
    return [Kept(row["mode"], row["sha256"], row["content"], cells_of(row["cells"])) for row in rows]


def vector_of(rows: Iterable[asyncpg.Record]) -> dict[str, dict[str, int]]:
    """Positions by topic and partition."""
    vector: dict[str, dict[str, int]] = {}
    for row in rows:
        vector.setdefault(row["topic"], {})[str(row["partition"])] = row["next_offset"]
    return vector
