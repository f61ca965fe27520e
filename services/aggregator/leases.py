"""Which worker reads which partition: a pure function of the workers, the leases and the present instant.

A lease is a row of `partition_position`: its owner's name and an epoch that rises with each change of hands. An owner
whose heartbeat is older than the expiry has lost its claim; that decides who may take over, never who may write: the
fence inside each transaction does (see `store.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

HEARTBEAT = timedelta(seconds=0.5)
EXPIRY = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What this worker should do now."""

    take: tuple[Partition, ...]
    give_up: tuple[Partition, ...]


def plan(me: str, seen_at: Mapping[str, datetime], owners: Mapping[Partition, str | None], now: datetime) -> Plan:
    """Take free partitions up to a fair share, give up what is above it.

    `seen_at` is each worker's last heartbeat and `owners` who holds each partition; both and `now` are read from the
    database's clock. Shares differ by at most one; which worker has the larger ones follows from the order of names,
    so that all workers that see the same rows agree.
    """
    alive = sorted({name for name, seen in seen_at.items() if now - seen < EXPIRY} | {me})
    share, larger = divmod(len(owners), len(alive))
    quota = share + (1 if alive.index(me) < larger else 0)
    mine = sorted(partition for partition, owner in owners.items() if owner == me)
    if len(mine) > quota:
        return Plan(take=(), give_up=tuple(mine[quota:]))
    free = sorted(partition for partition, owner in owners.items() if owner is None or owner not in alive)
    return Plan(take=tuple(free[: quota - len(mine)]), give_up=())
