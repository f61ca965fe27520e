"""The breaker reads a bounded number of rejects, independent of their number since the resume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.aggregator.queries import SQL
from services.aggregator.store import INTERNAL_ERRORS, REJECT_WINDOW, REJECTS_IN_WINDOW
from tests.support.positions import Connection

ISSUED = "detainer-issued"
MANY = 100_000


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("analyzed", [True, False])
async def test_the_breaker_reads_no_more_than_its_window_and_ten_internal_errors(
    connection: Connection, plans: str, analyzed: bool
) -> None:
    """Otherwise each reject would make the next batch slower, until no batch commits in time."""
    await connection.execute(
        "INSERT INTO partition_position (topic, partition, next_offset) VALUES ($1, 0, $2)", ISSUED, MANY * 10
    )
    await connection.execute(
        "INSERT INTO rejected (topic, partition, kafka_offset, reason, detail, sha256)"
        " SELECT $1, 0, n * 10, CASE WHEN n % 100 = 0 THEN 'internal_error' ELSE 'a-number' END, '', ''"
        " FROM generate_series(0, $2 - 1) AS n",
        ISSUED, MANY,
    )  # fmt: skip
    if analyzed:
        await connection.execute("ANALYZE rejected")
    await connection.execute(f"SET plan_cache_mode = {plans}")
    judged = ([ISSUED], [0], INTERNAL_ERRORS, REJECT_WINDOW, REJECTS_IN_WINDOW)
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL['halt_broken']}", *judged)
    (explained,) = json.loads(plan) if isinstance(plan, str) else plan
    read = [one for one in _nodes(explained["Plan"]) if one.get("Relation Name") == "rejected"]
    assert len(read) == 2
    rows = sum(
        (one["Actual Rows"] + one.get("Rows Removed by Filter", 0) + one.get("Rows Removed by Index Recheck", 0))
        * one["Actual Loops"]
        for one in read
    )
    assert INTERNAL_ERRORS <= rows <= INTERNAL_ERRORS + REJECT_WINDOW
    reason = await connection.fetchval("SELECT halted_reason FROM partition_position")
    assert reason == f"InternalErrors: {INTERNAL_ERRORS} records caused an internal error"
