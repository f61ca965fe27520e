"""The leases of one worker in PostgreSQL: its name, its heartbeat, and acquiring and releasing partitions.

A worker holds a session-level advisory lock on its name. After `kill -9`, PostgreSQL ends the session at once, so a
successor with the same name need not wait for the expiry. A process that is stopped but not dead keeps its session;
after its heartbeat has expired, the successor terminates that session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from schemas.acceptance import RULES_VERSION
from schemas.log import Partition
from services.aggregator import leases
from services.aggregator.leases import EXPIRY
from services.aggregator.log_inspector import Checkpoint
from services.aggregator.queries import SQL
from services.runtime.errors import CallerError


class NameTakenError(CallerError):
    """Another running aggregator has this name. Give each aggregator its own DDOR_WORKER."""

    def __init__(self, worker: str) -> None:
        super().__init__(f"another aggregator is running as {worker}; give each aggregator its own DDOR_WORKER")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to advance one partition under one epoch. `halted` is the reason if the partition is halted."""

    checkpoint: Checkpoint
    epoch: int
    halted: str | None


class LeaseManager:
    """One session in PostgreSQL. Call `claim_name` once, then `renew` at every heartbeat.

    After `claim_name`, `renew` and `halt` skip rows that a batch has locked, so no batch delays a heartbeat.
    """

    def __init__(self, connection: asyncpg.Connection[Any], worker: str) -> None:
        self._connection = connection
        self._worker = worker
        self._connection_lock = asyncio.Lock()
        self.halted: dict[Partition, int] = {}
        """Position of each halted partition of this worker at the last renewal. The worker keeps these leases."""

    async def claim_name(self) -> None:
        """Claim the worker's name for this session and release the leases of an earlier session with this name.

        Deletes workers without a heartbeat for a day. Raises NameTakenError while another live session has the name.
        """
        if not await self._connection.fetchval(SQL["try_name"], self._worker):
            stale = await self._connection.fetchval(SQL["stale_session"], self._worker, EXPIRY)
            if stale is not None:
                await self._connection.execute(SQL["terminate_session"], stale)
            raise NameTakenError(self._worker)
        await self._connection.execute(SQL["delete_old_workers"])
        rows = await self._connection.fetch(SQL["leases"])
        await self.release(_partition(row) for row in rows if row["owner"] == self._worker)

    async def add_partitions(self, partitions: Iterable[Partition]) -> None:
        """Give each partition without a position one at offset 0."""
        listed = list(partitions)
        await self._connection.execute(
            SQL["add_partitions"], [one.topic for one in listed], [one.number for one in listed]
        )

    async def renew(self, busy: Collection[Partition] = ()) -> dict[Partition, int]:
        """Heartbeat, then follow the plan. Returns the epoch of each partition to read from now on.

        A partition to release that is `busy` in a batch is released at a later renewal, after the batch is written.
        """
        async with self._connection_lock:
            return await self._renew(busy)

    async def _renew(self, busy: Collection[Partition]) -> dict[Partition, int]:
        await self._connection.execute(SQL["heartbeat"], self._worker)
        workers = await self._connection.fetch(SQL["workers"])
        rows = {_partition(row): row for row in await self._connection.fetch(SQL["leases"])}
        plan = leases.plan(
            self._worker,
            {row["name"]: row["seen_at"] for row in workers},
            {partition: row["owner"] for partition, row in rows.items()},
            workers[0]["now"],
        )
        await self._release("release_unlocked", [one for one in plan.release if one not in busy])
        mine = {one: row for one, row in rows.items() if row["owner"] == self._worker and one not in plan.release}
        self.halted = {one: row["next_offset"] for one, row in mine.items() if row["halted_reason"] is not None}
        kept = {one: row["epoch"] for one, row in mine.items() if one not in self.halted}
        return kept | await self._acquire(plan.acquire, [rows[one]["epoch"] for one in plan.acquire])

    async def leases(self) -> dict[Partition, Lease]:
        """The current leases of this worker, with their positions."""
        async with self._connection_lock:
            rows = await self._connection.fetch(SQL["leases"])
        return {_partition(row): _lease(row) for row in rows if row["owner"] == self._worker}

    async def release(self, partitions: Iterable[Partition]) -> None:
        """Release leases. Waits for a batch that has locked one of the rows."""
        await self._release("release", partitions)

    async def halt(self, partition: Partition, epoch: int, reason: str) -> None:
        """Halt one partition until an operator resumes it. The halt is stored and outlives this process."""
        async with self._connection_lock:
            await self._connection.execute(SQL["halt"], partition.topic, partition.number, epoch, reason)

    async def sign_off(self) -> None:
        """Release all leases and delete the worker: an orderly shutdown."""
        await self.release((await self.leases()).keys())
        await self._connection.execute(SQL["sign_off"], self._worker)

    async def _release(self, statement: str, partitions: Iterable[Partition]) -> None:
        listed = list(partitions)
        if listed:
            await self._connection.execute(
                SQL[statement], self._worker, [one.topic for one in listed], [one.number for one in listed]
            )

    async def _acquire(self, partitions: Sequence[Partition], epochs: list[int]) -> dict[Partition, int]:
        if not partitions:
            return {}
        topics, numbers = [one.topic for one in partitions], [one.number for one in partitions]
        rows = await self._connection.fetch(SQL["acquire"], self._worker, topics, numbers, epochs, RULES_VERSION)
        return {_partition(row): row["epoch"] for row in rows}


def _partition(row: asyncpg.Record) -> Partition:
    return Partition(row["topic"], row["partition"])


def _lease(row: asyncpg.Record) -> Lease:
    checkpoint = Checkpoint(_partition(row), row["next_offset"], row["last_offset"], row["last_digest"])
    return Lease(checkpoint, row["epoch"], row["halted_reason"])
