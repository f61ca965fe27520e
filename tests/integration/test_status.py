"""`ddor status` on a real database: what it says, and that watching it costs no more the more has been counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

from services.aggregator.leases import EXPIRY
from services.cli import status
from services.publisher.closer import EndOffsets
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.commands import ddor
from tests.support.counting import counting
from tests.support.kafka_log import Message
from tests.support.positions import Connection

BOUNDED = {"partition_position", "worker", "week_close", "outbox", "restatement_request", "report"}
"""Tables of as many rows as there are partitions, workers, weeks, revisions, requests and messages on their way: none
grows with what is counted or rejected."""


class NoEnds:
    """A log that nobody asks."""

    async def read(self) -> dict[str, dict[str, int]]:
        return {}


def _relations(plan: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan:
        yield plan["Relation Name"]
    for child in plan.get("Plans", ()):
        yield from _relations(child)


async def test_what_watch_asks_every_two_seconds_reads_no_table_that_grows(
    store_settings: MakeSettings, connection: Connection
) -> None:
    asked: list[tuple[str, Any]] = []
    async with kafka_log.connected(store_settings()) as session:
        session.add_query_logger(lambda said: asked.append((said.query, said.args)))
        state = await status._read(session, cast("EndOffsets", NoEnds()), store_settings())
    assert set(state) > {"partitions", "workers", "weeks", "totals"}
    assert asked
    for query, arguments in asked:
        told = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
        (explained,) = json.loads(told) if isinstance(told, str) else told
        assert set(_relations(explained["Plan"])) <= BOUNDED, query


async def test_a_week_that_waits_is_shown_before_all_that_are_published(
    settings: MakeSettings, connection: Connection
) -> None:
    """WeekOverdue sends the operator here, also for a week of the past behind many newer ones."""
    adding = (
        "INSERT INTO week_close (week, state, barrier) SELECT date '2014-10-11' + 7 * n, $1, '{}' FROM generate_series"
    )
    await connection.execute(f"{adding}(0, 0) n", "held")
    await connection.execute(f"{adding}(1, 12) n", "published")
    weeks = json.loads((await ddor(settings(), "status", "--json")).out)["weeks"]
    assert [one["week"] for one in weeks[:2]] == ["2014-10-11", "2015-01-03"]


async def test_it_says_what_was_read_and_what_of_it_was_rejected_and_is_in_conflict(
    settings: MakeSettings, connection: Connection
) -> None:
    chosen = settings()
    told = [events.message("issued", events.issued(number)) for number in (1, 1, 2)]
    told.append(events.message("issued", events.issued(1, jurisdiction="32031")))
    told.append(Message("detainer-issued", b"no event", partition=3))
    await kafka_log.append(chosen.kafka_bootstrap, told)
    async with counting(chosen) as counter:
        await counter.count()
    said = json.loads((await ddor(chosen, "status", "--json")).out)
    # The notice of the reject is on its way.
    assert said["totals"] == {"records": 5, "duplicates": 1, "rejected": 1, "unsent": 1, "open_conflicts": 1}
    assert said["rejects"] == [{"topic": "detainer-issued", "reason": "not-json", "n": 1}]
    table = (await ddor(chosen, "status")).out
    assert "detainer-issued not-json: 1" in table
    assert "5 read, 1 of them duplicates, 1 rejected" in table


async def test_a_worker_that_went_without_a_word_is_dead_and_its_partitions_are_without_one(
    settings: MakeSettings, connection: Connection
) -> None:
    await connection.execute("UPDATE partition_position SET owner = 'one'")
    await connection.execute(
        "UPDATE partition_position SET owner = CASE partition WHEN 1 THEN 'gone' WHEN 2 THEN NULL ELSE 'forgotten' END"
        " WHERE topic = 'detainer-issued' AND partition BETWEEN 1 AND 3"
    )
    # An hour ahead, and how far behind the leases' expiry, so that no pace of this test changes what is true.
    for name, seen in (("one", timedelta(hours=1)), ("gone", -EXPIRY)):
        await connection.execute("INSERT INTO worker VALUES ($1, clock_timestamp() + $2::interval, 1)", name, seen)
    said = json.loads((await ddor(settings(), "status", "--json")).out)
    assert {one["name"]: (one["dead"], one["partitions"]) for one in said["workers"]} == {
        "gone": (True, 1),
        "one": (False, 22),
    }
    without = [f"{one['topic']}/{one['partition']}" for one in said["partitions"] if one["without_worker"]]
    assert without == ["detainer-issued/1", "detainer-issued/2", "detainer-issued/3"]
    assert {one["owner"] for one in said["partitions"]} == {"one", "gone", "forgotten", None}
    table = (await ddor(settings(), "status")).out
    assert " 1 partitions, dead" in table
    assert "nothing is counted" not in table
    for place in without:
        assert place in table.partition("without worker")[2].partition("rejected")[0]
    await connection.execute("UPDATE worker SET seen_at = clock_timestamp() - $1::interval", EXPIRY)
    assert "none: nothing is counted" in (await ddor(settings(), "status")).out
