"""The aggregator's transactions. One batch is one transaction, fenced by the rows it moves.

Invariant (positions, ledger, history, counters and rejects move together): `write` first locks the position of every
partition in the batch and compares owner, epoch and offset with what the batch claims. If one of them differs, nothing
of the batch is written.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from services.aggregator.leases import EXPIRY, Partition
from services.aggregator.tally import Batch, Claim, Placed, Reject
from services.runtime import queries
from services.runtime.errors import InvariantError

SQL = queries.load("services.aggregator")
_TIMEOUT = f"SET LOCAL transaction_timeout = '{round(EXPIRY.total_seconds() * 800)}ms'"

_INCOMING = (
    "detainer_id", "fingerprint", "version", "kafka_offset", "kind", "week",
    "agency", "partition", "withdrawn", "jurisdiction", "form", "winner",
)  # fmt: skip
_DECLINE = (
    "detainer_id", "agency", "partition", "kafka_offset", "issued_at", "declined_at", "recorded_at",
    "operator", "reason", "citizenship", "offenses",
)  # fmt: skip


class Fenced(Exception):  # noqa: N818  # a state of affairs, not a failure
    """A partition of this batch is another's, or its position is not where the batch starts. Nothing was written."""


Outcomes = Counter[tuple[str, str]]
"""How many records of a topic became what: (topic, ledger | history | duplicate | rejected)."""


class Store:
    """Writes batches over one connection. Not for concurrent use: batches are strictly in order."""

    def __init__(self, connection: asyncpg.Connection[Any], worker: str) -> None:
        self._connection = connection
        self._worker = worker
        self._agencies: dict[str, int] = {}

    async def prepare(self) -> None:
        """Create the staging tables of this session."""
        await self._connection.execute(SQL["create_staging"])

    async def write(self, batch: Batch) -> Outcomes:
        """Write one batch and move its positions; Fenced when a claim does not hold."""
        await self._learn_agencies({one.fact.agency for one in (*batch.winners, *batch.others)})
        async with self._connection.transaction(isolation="read_committed"):
            await self._connection.execute(_TIMEOUT)
            await self._fence(batch.claims)
            won, kept = await self._write_facts(batch)
            await self._write_rejects(batch.rejects)
            duplicates = _duplicates(batch.claims, won, kept)
            await self._move(batch.claims, duplicates)
        return _outcomes(batch.claims, won, kept, duplicates)

    async def _fence(self, claims: Sequence[Claim]) -> None:
        rows = await self._connection.fetch(SQL["lock_claims"], *_columns(claim.partition for claim in claims))
        found = {Partition(row["topic"], row["partition"]): row for row in rows}
        for claim in claims:
            row = found.get(claim.partition)
            if (
                row is None
                or row["owner"] != self._worker
                or row["epoch"] != claim.epoch
                or row["next_offset"] != claim.start
                or row["halted_reason"] is not None
            ):
                raise Fenced(str(claim.partition))

    async def _write_facts(self, batch: Batch) -> tuple[Counter[Partition], Counter[Partition]]:
        if not batch.winners:
            return Counter(), Counter()
        rows = [self._row(one, True) for one in batch.winners] + [self._row(one, False) for one in batch.others]
        await self._connection.copy_records_to_table("incoming", records=rows, columns=_INCOMING)
        written = await self._connection.fetch(SQL["upsert_winners"])
        won = Counter({Partition(row["topic"], row["partition"]): row["won"] for row in written})
        if any(row["negatives"] for row in written):
            raise InvariantError("a weekly counter would fall below zero")
        if any(row["zeros"] for row in written):
            await self._connection.execute(SQL["drop_zero_counters"])
        kept: Counter[Partition] = Counter()
        if won.total() < len(rows):
            rows_kept = await self._connection.fetch(SQL["keep_history"])
            kept.update({Partition(row["topic"], row["partition"]): row["kept"] for row in rows_kept})
        declines = [self._decline(one) for one in batch.winners if one.fact.recorded_at is not None]
        if declines:
            await self._connection.copy_records_to_table("incoming_decline", records=declines, columns=_DECLINE)
            await self._connection.execute(SQL["upsert_declines"])
        return won, kept

    def _row(self, one: Placed, winner: bool) -> tuple[object, ...]:
        fact = one.fact
        return (
            fact.detainer_id, uuid.UUID(bytes=fact.fingerprint), fact.version, one.offset, fact.kind.value, one.week,
            self._agencies[fact.agency], one.partition, fact.withdrawn, fact.jurisdiction, fact.form, winner,
        )  # fmt: skip

    def _decline(self, one: Placed) -> tuple[object, ...]:
        fact = one.fact
        offenses = None if fact.offenses is None else [":".join(offense) for offense in fact.offenses]
        return (
            fact.detainer_id, self._agencies[fact.agency], one.partition, one.offset, fact.issued_at, fact.declined_at,
            fact.recorded_at, fact.operator, fact.reason, fact.citizenship, offenses,
        )  # fmt: skip

    async def _write_rejects(self, rejects: Iterable[Reject]) -> None:
        for reject in rejects:
            place = (reject.partition.topic, reject.partition.number, reject.offset)
            await self._connection.execute(
                SQL["add_reject"], *place, reject.reason, reject.field, reject.detail, reject.sha256
            )
            if reject.may_be_kept:
                await self._connection.execute(SQL["add_reject_raw"], *place, reject.key, reject.raw)

    async def _move(self, claims: Sequence[Claim], duplicates: Counter[Partition]) -> None:
        await self._connection.execute(
            SQL["move_positions"],
            *_columns(claim.partition for claim in claims),
            [claim.end for claim in claims],
            [claim.records for claim in claims],
            [claim.rejected for claim in claims],
            [duplicates[claim.partition] for claim in claims],
            [claim.last_offset for claim in claims],
            [claim.last_digest for claim in claims],
        )

    async def _learn_agencies(self, names: set[str]) -> None:
        """Give each new agency its number, outside the batch: a number says nothing and may go unused."""
        for statement in ("known_agencies", "add_agencies", "known_agencies"):
            unknown = sorted(names - self._agencies.keys())
            if not unknown:
                return
            rows = await self._connection.fetch(SQL[statement], unknown)
            self._agencies.update({row["name"]: row["id"] for row in rows})


def _columns(partitions: Iterable[Partition]) -> tuple[list[str], list[int]]:
    listed = list(partitions)
    return [one.topic for one in listed], [one.number for one in listed]


def _duplicates(claims: Iterable[Claim], won: Counter[Partition], kept: Counter[Partition]) -> Counter[Partition]:
    """What is neither rejected, nor in the ledger, nor new to the history, was there already."""
    return Counter(
        {one.partition: one.records - one.rejected - won[one.partition] - kept[one.partition] for one in claims}
    )


def _outcomes(
    claims: Iterable[Claim], won: Counter[Partition], kept: Counter[Partition], duplicates: Counter[Partition]
) -> Outcomes:
    outcomes: Outcomes = Counter()
    for claim in claims:
        topic = claim.partition.topic
        outcomes[topic, "ledger"] += won[claim.partition]
        outcomes[topic, "history"] += kept[claim.partition]
        outcomes[topic, "duplicate"] += duplicates[claim.partition]
        outcomes[topic, "rejected"] += claim.rejected
    return outcomes
