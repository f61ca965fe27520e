"""The leases of one worker in PostgreSQL: its name, its heartbeat, and taking and giving up partitions.

A worker holds a session advisory lock on its name. After kill -9 PostgreSQL ends the session at once, so a successor
of the same name need not wait for the expiry. A process of the same name that is stopped, not dead, keeps its session;
once its heartbeat has expired the successor ends that session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from schemas.acceptance import RULES_VERSION
from services.aggregator import leases
from services.aggregator.leases import EXPIRY, Partition
from services.aggregator.log import Position
from services.aggregator.store import SQL


class NameTakenError(Exception):
    """A living worker has this name; give each aggregator its own DDOR_WORKER."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A partition that this worker may advance, under one epoch. `halted` says why it must not."""

    position: Position
    epoch: int
    halted: str | None


class Tenancy:
    """One session in PostgreSQL. `claim_name` first; then `round` every heartbeat.

    After `claim_name` nothing here waits for a row that a batch has locked, so no batch can delay a heartbeat.
    """

    def __init__(self, connection: asyncpg.Connection[Any], worker: str) -> None:
        self._connection = connection
        self._worker = worker
        self._one_at_a_time = asyncio.Lock()
        self.halted: dict[Partition, int] = {}
        """Where each halted partition of this worker stands, as of the last round: its lease is kept, and shown."""

    async def claim_name(self) -> None:
        """Take the worker's name for this session and drop the leases that an earlier session of it held.

        Workers that have been gone for a day are forgotten. NameTakenError while another living session has it.
        """
        if not await self._connection.fetchval(SQL["try_name"], self._worker):
            stale = await self._connection.fetchval(SQL["stale_holder"], self._worker, EXPIRY)
            if stale is not None:
                await self._connection.execute(SQL["end_session"], stale)
            raise NameTakenError(self._worker)
        await self._connection.execute(SQL["forget_workers"])
        rows = await self._connection.fetch(SQL["leases"])
        await self.give_up(_partition(row) for row in rows if row["owner"] == self._worker)

    async def add_partitions(self, partitions: Iterable[Partition]) -> None:
        """Give each partition that has no position yet one at offset 0."""
        listed = list(partitions)
        await self._connection.execute(
            SQL["add_partitions"], [one.topic for one in listed], [one.number for one in listed]
        )

    async def round(self, busy: Collection[Partition] = ()) -> dict[Partition, int]:
        """Heartbeat, then follow the plan; answers the epoch of each partition that is to be read after it.

        A partition to give up that is `busy` in a batch is given up in a later round, once that batch is written.
        """
        async with self._one_at_a_time:
            return await self._round(busy)

    async def _round(self, busy: Collection[Partition]) -> dict[Partition, int]:
        await self._connection.execute(SQL["heartbeat"], self._worker)
        workers = await self._connection.fetch(SQL["workers"])
        rows = {_partition(row): row for row in await self._connection.fetch(SQL["leases"])}
        plan = leases.plan(
            self._worker,
            {row["name"]: row["seen_at"] for row in workers},
            {partition: row["owner"] for partition, row in rows.items()},
            workers[0]["now"],
        )
        await self._give_up("give_up_idle", [one for one in plan.give_up if one not in busy])
        mine = {one: row for one, row in rows.items() if row["owner"] == self._worker and one not in plan.give_up}
        self.halted = {one: row["next_offset"] for one, row in mine.items() if row["halted_reason"] is not None}
        held = {one: row["epoch"] for one, row in mine.items() if one not in self.halted}
        return held | await self._take(plan.take, [rows[one]["epoch"] for one in plan.take])

    async def held(self) -> dict[Partition, Lease]:
        """The leases that stand in this worker's name now, with their positions."""
        async with self._one_at_a_time:
            rows = await self._connection.fetch(SQL["leases"])
        return {_partition(row): _lease(row) for row in rows if row["owner"] == self._worker}

    async def give_up(self, partitions: Iterable[Partition]) -> None:
        """Leave partitions to others; waits for a batch that has locked one."""
        await self._give_up("give_up", partitions)

    async def halt(self, partition: Partition, epoch: int, reason: str) -> None:
        """Stop one partition, persistently, until an operator resumes it."""
        async with self._one_at_a_time:
            await self._connection.execute(SQL["halt"], partition.topic, partition.number, epoch, reason)

    async def sign_off(self) -> None:
        """Give everything up and forget the worker: an orderly end."""
        await self.give_up((await self.held()).keys())
        await self._connection.execute(SQL["sign_off"], self._worker)

    async def _give_up(self, statement: str, partitions: Iterable[Partition]) -> None:
        listed = list(partitions)
        if listed:
            await self._connection.execute(
                SQL[statement], self._worker, [one.topic for one in listed], [one.number for one in listed]
            )

    async def _take(self, partitions: Sequence[Partition], epochs: list[int]) -> dict[Partition, int]:
        if not partitions:
            return {}
        topics, numbers = [one.topic for one in partitions], [one.number for one in partitions]
        rows = await self._connection.fetch(SQL["take"], self._worker, topics, numbers, epochs, RULES_VERSION)
        return {_partition(row): row["epoch"] for row in rows}


def _partition(row: asyncpg.Record) -> Partition:
    return Partition(row["topic"], row["partition"])


def _lease(row: asyncpg.Record) -> Lease:
    position = Position(_partition(row), row["next_offset"], row["last_offset"], row["last_digest"])
    return Lease(position, row["epoch"], row["halted_reason"])
