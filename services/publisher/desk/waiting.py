"""What a week and a requested restatement wait for, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from schemas.log import Partition, Vector
from services.publisher.closing import State
from services.publisher.desk.log_ends import LogEnds
from services.runtime import transactions


def with_waits(
    week: Mapping[str, Any], positions: Vector, ends: LogEnds | None, halted: Collection[Partition]
) -> dict[str, Any]:
    """A week's row without its barrier, with `waits_for` and the partitions that are below the barrier (`lacking`).

    A halted partition does not delay a week: it holds the week as a gate does.
    """
    barrier = Vector.from_json(week["barrier"] or {})
    state = week["state"]
    lacking = {} if state != State.DRAINING else barrier.shortfall(positions)
    lacking = {one: records for one, records in lacking.items() if one not in halted}
    row = {name: value for name, value in week.items() if name != "barrier"}
    row["lacking"] = [
        {"partition": str(one), "position": positions.offset_of(one), "barrier": barrier[one], "records": records}
        for one, records in lacking.items()
    ]
    return row | {"waits_for": list(_sentences(week, barrier, lacking, ends))}


def _sentences(
    week: Mapping[str, Any], barrier: Vector, lacking: Mapping[Partition, int], ends: LogEnds | None
) -> Iterable[str]:
    match week["state"]:
        case State.REQUESTED:
            yield "the publisher to set the barrier"
        case State.DRAINING:
            blocked = ends.blocked if ends else {}
            for one, since in sorted(blocked.items()):
                if barrier.covers(one, since):
                    yield transactions.message(one, since)
            if lacking:
                yield f"{sum(lacking.values()):,} records to count before the barrier, in {_named(lacking)}"
            else:
                yield "the publisher to prove the counts and write the report"
        case State.HALTED:
            lost = _named(barrier.shortfall(ends.end)) if ends else ""
            yield f"the log of {lost or 'a partition'}, which ends before the barrier"
        case State.HELD:
            by = week["released_by"]
            yield f"the publisher to write the report; released by {by}" if by else "an operator, or the deadline"
        case State.CLOSED:
            yield "its report to be sent"


def restatement(row: Mapping[str, Any], positions: Vector) -> dict[str, Any]:
    """A request without an outcome, with `waits_for` instead of the vector of the newest revision."""
    request = {name: value for name, value in row.items() if name != "offsets"}
    lacking = Vector.from_json(row["offsets"] or {}).shortfall(positions)
    records = f"{sum(lacking.values()):,} records to count up to the newest revision, in {_named(lacking)}"
    return request | {"waits_for": records if lacking else "the publisher to write the revision"}


def open_transactions(partitions: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each blocked partition of the status document."""
    return [
        transactions.message(Partition(one["topic"], one["partition"]), since)
        for one in partitions
        if (since := one.get("open_transaction_since")) is not None
    ]


def _named(partitions: Collection[Partition]) -> str:
    """Up to three partitions by name, and the number of the others."""
    first = ", ".join(str(one) for one in sorted(partitions)[:3])
    return first if len(partitions) <= 3 else f"{first} and {len(partitions) - 3} more"
