"""The aggregator's transactions. One batch is one transaction, fenced by the positions it advances.

Invariant (positions, ledger, history, counters and rejects change together): before `write` changes anything, it locks
the position of every partition in the batch and compares owner, epoch and offset with the batch's claims. If one of
them differs, nothing in the batch is written.

COPY runs before any lock is taken. PostgreSQL ignores timeouts while COPY waits for its client, so a worker that is
stopped during COPY keeps its transaction open and would keep its locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from schemas.detainer import Kind
from schemas.instant import instant
from schemas.log import Partition
from schemas.topics import CONTENT_TYPE, WEEK_ATTESTED
from services.aggregator.decoding import AttestationRecord, Batch, FactRecord, Reject, notice
from services.aggregator.leases import EXPIRY
from services.aggregator.queries import SQL
from services.aggregator.spans import Claim
from services.aggregator.transaction import transaction
from services.runtime.clock import system
from services.runtime.errors import InvariantError

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


class FencedError(Exception):
    """Another worker has a partition of this batch, or the position is not the batch's start. Nothing was written."""


OUTCOMES = ("ledger", "history", "duplicate", "rejected")
"""The possible outcomes of a record."""
INTERNAL_ERRORS = 10
REJECT_WINDOW = 1_000
REJECTS_IN_WINDOW = 200
"""Circuit breaker: a partition halts at the tenth internal error, or above 200 rejects in its last 1,000 offsets."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of a batch. `outcomes` counts records by topic and outcome; `halted` has the reasons of new halts."""

    outcomes: Counter[tuple[str, str]]
    halted: Mapping[Partition, str]


class Store:
    """Writes batches over one connection, strictly in order. Not for concurrent use."""

    def __init__(self, connection: asyncpg.Connection[Any], worker: str) -> None:
        self._connection = connection
        self._worker = worker
        self._agencies: dict[str, int] = {}

    async def prepare(self, *, bounded: bool = True) -> None:
        """Create the session's staging tables. `bounded`: limit each transaction to less than a lease's expiry."""
        await self._connection.execute(SQL["create_staging"])
        if bounded:
            await self._connection.execute(_TIMEOUT)

    async def write(self, batch: Batch) -> WriteResult:
        """Write one batch, advance its positions, and halt partitions if necessary.

        Raises FencedError if a claim does not match the stored lease and position.
        """
        await self._load_agencies({one.fact.agency for one in (*batch.winners, *batch.others)})
        await self._load_agencies({one.attestation.agency for one in batch.attestations})
        async with transaction(self._connection):
            await self._stage(batch)
            await self._fence(batch.claims)
            won, superseded = await self._write_facts(batch)
            won += await self._write_attestations(batch.attestations)
            await self._write_rejects(batch.rejects)
            duplicates = _duplicates(batch.claims, won, superseded)
            await self._advance(batch.claims, duplicates)
            halted = await self._halt_broken(batch.rejects)
        return WriteResult(_outcomes(batch.claims, won, superseded, duplicates), halted)

    async def _stage(self, batch: Batch) -> None:
        """Copy the facts into the session's staging tables. The other statements read them on the server."""
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
                raise FencedError(str(claim.partition))

    async def _write_facts(self, batch: Batch) -> tuple[Counter[Partition], Counter[Partition]]:
        if not batch.winners:
            return Counter(), Counter()
        written = await self._connection.fetch(SQL["upsert_winners"])
        won = Counter({Partition(row["topic"], row["partition"]): row["won"] for row in written})
        if any(row["negatives"] for row in written):
            raise InvariantError("a weekly counter would fall below zero")
        if any(row["zeros"] for row in written):
            await self._connection.execute(SQL["drop_zero_counters"])
        superseded: Counter[Partition] = Counter()
        if won.total() < len(batch.winners) + len(batch.others):
            added = await self._connection.fetch(SQL["insert_history"])
            superseded.update({Partition(row["topic"], row["partition"]): row["added"] for row in added})
        if any(one.fact.kind is Kind.DECLINED for one in batch.winners):
            await self._connection.execute(SQL["upsert_declines"])
        return won, superseded

    async def _write_attestations(self, attestations: Sequence[AttestationRecord]) -> Counter[Partition]:
        """Insert the attestations that are new. Returns their number in each partition."""
        if not attestations:
            return Counter()
        rows = [
            (self._agencies[one.agency], one.week, one.version, one.fingerprint, one.issued, one.declined, *address)
            for one, *address in attestations
        ]
        added = await self._connection.fetch(SQL["insert_attestations"], *map(list, zip(*rows, strict=True)))
        return Counter(Partition(WEEK_ATTESTED, row["partition"]) for row in added)

    def _row(self, one: FactRecord, winner: bool) -> tuple[object, ...]:
        fact = one.fact
        return (
            fact.detainer_id, one.fingerprint, fact.version, one.offset, fact.kind, one.week,
            self._agencies[fact.agency], one.partition, fact.withdrawn, fact.jurisdiction, fact.form, winner,
        )  # fmt: skip

    def _decline(self, one: FactRecord) -> tuple[object, ...]:
        fact = one.fact
        offenses = None if fact.offenses is None else [":".join(offense) for offense in fact.offenses]
        return (
            fact.detainer_id, self._agencies[fact.agency], one.partition, one.offset, instant(fact.issued_us),
            instant(fact.declined_us or 0), instant(fact.recorded_us or 0), fact.operator, fact.reason,
            fact.citizenship, offenses,
        )  # fmt: skip

    async def _write_rejects(self, rejects: Sequence[Reject]) -> None:
        """Insert each reject, its bytes if they may be stored, and its notice for the topic detainer-rejected."""
        if not rejects:
            return
        rows = [(*_address(one), one.reason, one.field, one.detail, one.sha256) for one in rejects]
        await self._connection.execute(SQL["insert_rejects"], *map(list, zip(*rows, strict=True)))
        raw = [(*_address(one), one.raw) for one in rejects if one.raw is not None]
        if raw:
            await self._connection.execute(SQL["insert_raw"], *map(list, zip(*raw, strict=True)))
        now = system()
        notices = [notice(one, now) for one in rejects]
        await self._connection.execute(
            SQL["announce_rejects"],
            [str(one.address.partition).encode() for one in rejects],
            [value for value, _ in notices],
            CONTENT_TYPE,
            [event_id for _, event_id in notices],
            round(now.timestamp() * 1000),
            now,
        )

    async def _halt_broken(self, rejects: Sequence[Reject]) -> dict[Partition, str]:
        partitions = sorted({one.address.partition for one in rejects})
        if not partitions:
            return {}
        rows = await self._connection.fetch(
            SQL["halt_broken"], *_columns(partitions), INTERNAL_ERRORS, REJECT_WINDOW, REJECTS_IN_WINDOW
        )
        return {Partition(row["topic"], row["partition"]): row["halted_reason"] for row in rows}

    async def _advance(self, claims: Sequence[Claim], duplicates: Counter[Partition]) -> None:
        await self._connection.execute(
            SQL["advance_positions"],
            *_columns(claim.partition for claim in claims),
            [claim.end for claim in claims],
            [claim.records for claim in claims],
            [claim.rejected for claim in claims],
            [duplicates[claim.partition] for claim in claims],
            [claim.last_offset for claim in claims],
            [claim.last_digest for claim in claims],
        )

    async def _load_agencies(self, names: set[str]) -> None:
        """Load the agencies' numbers, and add new agencies. Not part of the batch: an unused number does no harm."""
        for statement in ("known_agencies", "add_agencies", "known_agencies"):
            unknown = sorted(names - self._agencies.keys())
            if not unknown:
                return
            rows = await self._connection.fetch(SQL[statement], unknown)
            self._agencies.update({row["name"]: row["id"] for row in rows})


def _columns(partitions: Iterable[Partition]) -> tuple[list[str], list[int]]:
    listed = list(partitions)
    return [one.topic for one in listed], [one.number for one in listed]


def _address(reject: Reject) -> tuple[str, int, int]:
    partition, offset = reject.address.partition, reject.address.offset
    return partition.topic, partition.number, offset


def _duplicates(claims: Iterable[Claim], won: Counter[Partition], superseded: Counter[Partition]) -> Counter[Partition]:
    """Records that were neither rejected nor written to the ledger or the history are duplicates."""
    return Counter(
        {one.partition: one.records - one.rejected - won[one.partition] - superseded[one.partition] for one in claims}
    )


def _outcomes(
    claims: Iterable[Claim], won: Counter[Partition], superseded: Counter[Partition], duplicates: Counter[Partition]
) -> Counter[tuple[str, str]]:
    outcomes: Counter[tuple[str, str]] = Counter()
    for claim in claims:
        topic = claim.partition.topic
        counts = (won[claim.partition], superseded[claim.partition], duplicates[claim.partition], claim.rejected)
        for outcome, count in zip(OUTCOMES, counts, strict=True):
            outcomes[topic, outcome] += count
    return outcomes
