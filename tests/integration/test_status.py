"""`ddor status` on a real database: its output, and that --watch reads no table that grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from deploy.local.ports import free_port
from schemas.log import Vector
from services.aggregator.leases import EXPIRY
from services.cli import status
from services.publisher.desk.log_ends import LogEnds
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.commands import ddor
from tests.support.counting import counting
from tests.support.kafka_log import Message
from tests.support.positions import Connection

BOUNDED = {
    *("partition_position", "worker", "publisher_leader", "week_close", "outbox", "restatement_request", "report"),
    *("verification", "replaced_log", "audit"),
}
"""Tables with one row per partition, worker, week, revision, request, unsent message, lost log or day. They do not
grow with the number of counted or rejected records."""


def _relations(plan: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan:
        yield plan["Relation Name"]
    for child in plan.get("Plans", ()):
        yield from _relations(child)


async def test_watch_reads_no_table_that_grows(store_settings: MakeSettings, connection: Connection) -> None:
    queries: list[tuple[str, Any]] = []
    async with kafka_log.connected(store_settings()) as session:
        session.add_query_logger(lambda record: queries.append((record.query, record.args)))
        state = await status._read(session, LogEnds(Vector(), {}), store_settings())
    assert set(state) > {"partitions", "workers", "weeks", "totals"}
    assert queries
    for query, arguments in queries:
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
        (explained,) = json.loads(plan) if isinstance(plan, str) else plan
        assert set(_relations(explained["Plan"])) <= BOUNDED, query


async def test_a_waiting_week_is_shown_before_published_weeks(settings: MakeSettings, connection: Connection) -> None:
    """The runbook of WeekOverdue uses this list, also for an old week with many newer ones."""
    adding = (
        "INSERT INTO week_close (week, state, barrier) SELECT date '2014-10-11' + 7 * n, $1, '{}' FROM generate_series"
    )
    await connection.execute(f"{adding}(0, 0) n", "held")
    await connection.execute(f"{adding}(1, 12) n", "published")
    weeks = json.loads((await ddor(settings(), "status", "--json")).out)["weeks"]
    assert [one["week"] for one in weeks[:2]] == ["2014-10-11", "2015-01-03"]


async def test_it_shows_records_rejects_and_conflicts(settings: MakeSettings, connection: Connection) -> None:
    chosen = settings()
    messages = [events.message("issued", events.issued(number)) for number in (1, 1, 2)]
    messages.append(events.message("issued", events.issued(1, jurisdiction="32031")))
    messages.append(Message("detainer-issued", b"no event", partition=3))
    await kafka_log.append(chosen.kafka_bootstrap, messages)
    async with counting(chosen) as counter:
        await counter.count()
    status = json.loads((await ddor(chosen, "status", "--json")).out)
    # The notice of the reject is not sent yet.
    assert status["totals"] == {"records": 5, "duplicates": 1, "rejected": 1, "unsent": 1, "open_conflicts": 1}
    assert status["rejects"] == [{"topic": "detainer-issued", "reason": "not-json", "n": 1}]
    table = (await ddor(chosen, "status")).out
    assert "detainer-issued not-json: 1" in table
    assert "5 read, 1 of them duplicates, 1 rejected" in table


async def test_a_worker_without_a_heartbeat_is_dead_and_its_partitions_have_none(
    settings: MakeSettings, connection: Connection
) -> None:
    await connection.execute("UPDATE partition_position SET owner = 'one'")
    await connection.execute(
        "UPDATE partition_position SET owner = CASE partition WHEN 1 THEN 'gone' WHEN 2 THEN NULL ELSE 'deleted' END"
        " WHERE topic = 'detainer-issued' AND partition BETWEEN 1 AND 3"
    )
    # An hour ahead, and an hour past the expiry of leases, so that the speed of this test does not matter.
    for name, seen in (("one", timedelta(hours=1)), ("gone", -EXPIRY)):
        await connection.execute("INSERT INTO worker VALUES ($1, clock_timestamp() + $2::interval, 1)", name, seen)
    status = json.loads((await ddor(settings(), "status", "--json")).out)
    assert {one["name"]: (one["dead"], one["partitions"]) for one in status["workers"]} == {
        "gone": (True, 1),
        "one": (False, 22),
    }
    without = [f"{one['topic']}/{one['partition']}" for one in status["partitions"] if one["without_worker"]]
    assert without == ["detainer-issued/1", "detainer-issued/2", "detainer-issued/3"]
    assert {one["owner"] for one in status["partitions"]} == {"one", "gone", "deleted", None}
    table = (await ddor(settings(), "status")).out
    assert " 1 partitions, dead" in table
    assert "nothing is counted" not in table
    for partition in without:
        assert partition in table.partition("without worker")[2].partition("rejected")[0]
    await connection.execute("UPDATE worker SET seen_at = clock_timestamp() - $1::interval", EXPIRY)
    assert "none: nothing is counted" in (await ddor(settings(), "status")).out


async def test_a_dead_or_missing_publisher_is_reported_with_exit_code_1(
    settings: MakeSettings, connection: Connection
) -> None:
    """A live publisher and live workers give exit code 0. A leader's heartbeat is at most ten seconds old."""
    await connection.execute("INSERT INTO worker VALUES ('one', clock_timestamp() + interval '1 hour', 1)")
    leading = "INSERT INTO publisher_leader (seen_at, backend_pid) VALUES (clock_timestamp() + interval '1 hour', 1)"
    none = await ddor(settings(), "status")
    assert (none.exit_code, "none has run yet: no week closes" in none.out) == (1, True), none
    await connection.execute(leading)
    alive = await ddor(settings(), "status")
    assert (alive.exit_code, "no week closes" in alive.out) == (0, False), alive
    await connection.execute("UPDATE publisher_leader SET seen_at = clock_timestamp() - interval '1 minute'")
    dead = await ddor(settings(), "status", "--json")
    assert (dead.exit_code, json.loads(dead.out)["publisher"]["dead"]) == (1, True)
    assert "none: no week closes; the last was seen " in (await ddor(settings(), "status")).out


async def test_without_kafka_it_shows_the_contents_of_postgresql(
    settings: MakeSettings, connection: Connection
) -> None:
    await connection.execute("UPDATE partition_position SET halted_reason = 'planted' WHERE topic = 'detainer-issued'")
    away = settings(kafka_bootstrap=f"127.0.0.1:{free_port()}")
    done = await ddor(away, "status", COLUMNS="300")
    assert done.exit_code == 2
    assert "no Kafka broker responds: start Kafka, or correct DDOR_KAFKA_BOOTSTRAP" in done.out
    assert "detainer-issued/0: planted" in done.out
    assert "unknown: Kafka cannot be reached" in done.out
    status = json.loads((await ddor(away, "status", "--json")).out)
    assert (list(status["away"]), status["partitions"][0]["lag"]) == (["Kafka"], None)


async def test_without_postgresql_it_names_postgresql_and_not_kafka_and_without_both_both(
    settings: MakeSettings,
) -> None:
    nowhere = f"postgresql://ddor@127.0.0.1:{free_port()}/ddor"
    one = json.loads((await ddor(settings(postgres_dsn=nowhere), "status", "--json")).out)
    assert list(one["away"]) == ["PostgreSQL"]
    both = await ddor(settings(postgres_dsn=nowhere, kafka_bootstrap=f"127.0.0.1:{free_port()}"), "status", "--json")
    assert (both.exit_code, set(json.loads(both.out)["away"])) == (2, {"PostgreSQL", "Kafka"})
    assert "Traceback" not in both.err
