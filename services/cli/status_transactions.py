"""Partitions blocked by open transactions, and the weeks that wait for them, for `ddor status`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.log import Partition, Vector
from services.publisher.closing import State
from services.runtime import transactions


def with_blockers(week: dict[str, Any], blocked: Mapping[Partition, int]) -> dict[str, Any]:
    """A week's row without its barrier, and with the open transactions that keep its barrier from being reached.

    `blocked` has the blocked partitions, each with the first offset of the open transaction.
    """
    barrier = Vector.from_json(week.pop("barrier") or {})
    draining = week["state"] == State.DRAINING
    before = {one: since for one, since in blocked.items() if draining and barrier.covers(one, since)}
    return {**week, "waits_for": [transactions.message(one, since) for one, since in sorted(before.items())]}


def open_transactions(partitions: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each blocked partition of the status document."""
    return [
        transactions.message(Partition(one["topic"], one["partition"]), since)
        for one in partitions
        if (since := one.get("open_transaction_since")) is not None
    ]
