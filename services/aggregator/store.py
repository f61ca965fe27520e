"""The aggregator's transactions. One batch is one transaction, fenced by the rows it moves.

Invariant (positions, ledger, history, counters and rejects move together): before `write` changes anything, it locks
the position of every partition in the batch and compares owner, epoch and offset with what the batch claims. If one of
them differs, nothing of the batch is written.

No lock is held while rows are on their way to the server: a worker that is stopped in the middle of COPY keeps its
transaction open, since PostgreSQL heeds no time-out while COPY waits for its client, and would keep its locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from schemas.detainer import Kind
from schemas.instant import instant
from schemas.topics import CONTENT_TYPE, WEEK_ATTESTED
from services.aggregator.leases import EXPIRY, Partition
from services.aggregator.spans import Claim
from services.aggregator.tally import Attested, Batch, Placed, Reject, notice
from services.aggregator.transaction import transaction
from services.runtime import queries
from services.runtime.clock import system
from services.runtime.errors import InvariantError

SQL = queries.load("services.aggregator")
TIMEOUT = EXPIRY * 0.8
_TIMEOUT = f"SET transaction_timeout = '{round(TIMEOUT.total_seconds() * 1000)}ms'"

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


OUTCOMES = ("ledger", "history", "duplicate", "rejected")
"""What may become of a record."""
INTERNAL_ERRORS = 10
REJECT_WINDOW = 1_000
REJECTS_IN_WINDOW = 200
"""The breaker: a partition is halted at the tenth internal error, or above 200 rejects in its last 1,000 offsets."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch. `outcomes` counts records by topic and one of OUTCOMES."""

    outcomes: Counter[tuple[str, str]]
    halted: Mapping[Partition, str]


class Store:
    """Writes batches over one connection. Not for concurrent use: batches are strictly in order."""

    def __init__(self, connection: asyncpg.Connection[Any], worker: str) -> None:
        self._connection = connection
        self._worker = worker
        self._agencies: dict[str, int] = {}

    async def prepare(self, *, bounded: bool = True) -> None:
        """Create the staging tables of this session; `bounded`: no transaction of it outlives a lease."""
        await self._connection.execute(SQL["create_staging"])
        if bounded:
            await self._connection.execute(_TIMEOUT)

    async def write(self, batch: Batch) -> Written:
        """Write one batch and move its positions; Fenced when a claim does not hold. May halt partitions."""
        await self._learn_agencies({one.fact.agency for one in (*batch.winners, *batch.others)})
        await self._learn_agencies({one.attestation.agency for one in batch.attested})
        async with transaction(self._connection):
            await self._stage(batch)
            await self._fence(batch.claims)
            won, kept = await self._write_facts(batch)
            won += await self._write_attested(batch.attested)
            await self._write_rejects(batch.rejects)
            duplicates = _duplicates(batch.claims, won, kept)
            await self._move(batch.claims, duplicates)
            halted = await self._halt_broken(batch.rejects)
        return Written(_outcomes(batch.claims, won, kept, duplicates), halted)

    async def _stage(self, batch: Batch) -> None:
        """Copy the facts into tables of this session, from where they are written without a word from here."""
        if not batch.winners:
            return
        rows = [self._row(one, True) for one in batch.winners] + [self._row(one, False) for one in batch.others]
        await self._connection.copy_records_to_table("incoming", records=rows, columns=_INCOMING)
        declines = [self._decline(one) for one in batch.winners if one.fact.kind is Kind.DECLINED]
        if declines:
            await self._connection.copy_records_to_table("incoming_decline", records=declines, columns=_DECLINE)

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
        written = await self._connection.fetch(SQL["upsert_winners"])
        won = Counter({Partition(row["topic"], row["partition"]): row["won"] for row in written})
        if any(row["negatives"] for row in written):
            raise InvariantError("a weekly counter would fall below zero")
        if any(row["zeros"] for row in written):
            await self._connection.execute(SQL["drop_zero_counters"])
        kept: Counter[Partition] = Counter()
        if won.total() < len(batch.winners) + len(batch.others):
            rows_kept = await self._connection.fetch(SQL["keep_history"])
            kept.update({Partition(row["topic"], row["partition"]): row["kept"] for row in rows_kept})
        if any(one.fact.kind is Kind.DECLINED for one in batch.winners):
            await self._connection.execute(SQL["upsert_declines"])
        return won, kept

    async def _write_attested(self, attested: Sequence[Attested]) -> Counter[Partition]:
        """Keep each attestation that is not known yet; how many that were of each partition."""
        if not attested:
            return Counter()
        rows = [
            (self._agencies[one.agency], one.week, one.version, one.fingerprint, one.issued, one.declined, *place)
            for one, *place in attested
        ]
        kept = await self._connection.fetch(SQL["keep_attested"], *map(list, zip(*rows, strict=True)))
        return Counter(Partition(WEEK_ATTESTED, row["partition"]) for row in kept)

    def _row(self, one: Placed, winner: bool) -> tuple[object, ...]:
        fact = one.fact
        return (
            fact.detainer_id, one.fingerprint, fact.version, one.offset, fact.kind, one.week,
            self._agencies[fact.agency], one.partition, fact.withdrawn, fact.jurisdiction, fact.form, winner,
        )  # fmt: skip

    def _decline(self, one: Placed) -> tuple[object, ...]:
        fact = one.fact
        offenses = None if fact.offenses is None else [":".join(offense) for offense in fact.offenses]
        return (
            fact.detainer_id, self._agencies[fact.agency], one.partition, one.offset, instant(fact.issued_us),
            instant(fact.declined_us or 0), instant(fact.recorded_us or 0), fact.operator, fact.reason,
            fact.citizenship, offenses,
        )  # fmt: skip

    async def _write_rejects(self, rejects: Sequence[Reject]) -> None:
        """Keep each reject, its bytes where they may be kept, and a notice for the topic of rejects."""
        if not rejects:
            return
        rows = [(*_place(one), one.reason, one.field, one.detail, one.sha256) for one in rejects]
        await self._connection.execute(SQL["keep_rejects"], *map(list, zip(*rows, strict=True)))
        raw = [(*_place(one), one.raw) for one in rejects if one.raw is not None]
        if raw:
            await self._connection.execute(SQL["keep_raw"], *map(list, zip(*raw, strict=True)))
        now = system()
        notices = [notice(one, now) for one in rejects]
        await self._connection.execute(
            SQL["announce_rejects"],
            [str(one.partition).encode() for one in rejects],
            [value for value, _ in notices],
            CONTENT_TYPE,
            [event_id for _, event_id in notices],
            round(now.timestamp() * 1000),
            now,
        )

    async def _halt_broken(self, rejects: Sequence[Reject]) -> dict[Partition, str]:
        partitions = sorted({one.partition for one in rejects})
        if not partitions:
            return {}
        rows = await self._connection.fetch(
            SQL["halt_broken"], *_columns(partitions), INTERNAL_ERRORS, REJECT_WINDOW, REJECTS_IN_WINDOW
        )
        return {Partition(row["topic"], row["partition"]): row["halted_reason"] for row in rows}

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


def _place(reject: Reject) -> tuple[str, int, int]:
    return reject.partition.topic, reject.partition.number, reject.offset


def _duplicates(claims: Iterable[Claim], won: Counter[Partition], kept: Counter[Partition]) -> Counter[Partition]:
    """What is neither rejected, nor in the ledger, nor new to the history, was there already."""
    return Counter(
        {one.partition: one.records - one.rejected - won[one.partition] - kept[one.partition] for one in claims}
    )


def _outcomes(
    claims: Iterable[Claim], won: Counter[Partition], kept: Counter[Partition], duplicates: Counter[Partition]
) -> Counter[tuple[str, str]]:
    outcomes: Counter[tuple[str, str]] = Counter()
    for claim in claims:
        topic = claim.partition.topic
        counts = (won[claim.partition], kept[claim.partition], duplicates[claim.partition], claim.rejected)
        for outcome, count in zip(OUTCOMES, counts, strict=True):
            outcomes[topic, outcome] += count
    return outcomes
