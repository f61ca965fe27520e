"""Lease assignment: a pure function of the workers, the leases and the current time.

A lease is a row of `partition_position`: the owner's name, and an epoch that increases with each change of owner. An
owner whose heartbeat is older than `EXPIRY` has lost its leases. Expiry decides only who may acquire a lease. Who may
write is decided by the fence in each transaction (see `store.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.log import Partition
from services.runtime import heartbeats

HEARTBEAT = timedelta(seconds=0.5)
EXPIRY = heartbeats.WORKER_EXPIRY


@dataclass(frozen=True, slots=True)
class Plan:
    """The leases that this worker should acquire and release now."""

    acquire: tuple[Partition, ...]
    release: tuple[Partition, ...]


def plan(me: str, seen_at: Mapping[str, datetime], owners: Mapping[Partition, str | None], now: datetime) -> Plan:
    """Acquire free partitions up to a fair share; release the partitions above it.

    `seen_at` maps each worker to its last heartbeat, `owners` each partition to its owner. All times, including `now`,
    come from the database's clock. Shares differ by at most one. Workers whose names sort first get the larger shares,
    so that all workers that see the same rows agree.
    """
    alive = sorted({name for name, seen in seen_at.items() if now - seen < EXPIRY} | {me})
    share, larger = divmod(len(owners), len(alive))
    quota = share + (1 if alive.index(me) < larger else 0)
    mine = sorted(partition for partition, owner in owners.items() if owner == me)
    if len(mine) > quota:
        return Plan(acquire=(), release=tuple(mine[quota:]))
    free = sorted(partition for partition, owner in owners.items() if owner is None or owner not in alive)
    return Plan(acquire=tuple(free[: quota - len(mine)]), release=())
