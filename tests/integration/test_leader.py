"""Closing weeks on a real log and database, with a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import generate_latest

from deploy.local.parts import KafkaPart
from schemas.log import Vector
from schemas.topics import REPORT_READY
from schemas.week import ReportingWeek
from services.publisher.queries import SQL
from services.runtime import metrics
from services.runtime.errors import InvariantError
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.counting import counting
from tests.support.kafka_log import Message
from tests.support.positions import Connection, next_offsets
from tests.support.publishing import new_week, publishing

GRACE = timedelta(hours=24)
MOMENT = timedelta(seconds=1)


def _in(week: ReportingWeek, numbers: Iterable[int]) -> list[Message]:
    """One issued and one declined event for each number, within the week."""
    at = (week.begins_at + timedelta(days=2)).isoformat()
    messages = []
    for number in numbers:
        messages.append(events.message("issued", events.issued(number, issued_at=at)))
        declined = events.declined(number, issued_at=at, declined_at=at, recorded_at=at)
        messages.append(events.message("declined", declined))
    return messages


async def _count(settings: Settings, connection: Connection) -> None:
    async with counting(settings) as counter:
        await counter.count()


async def _reports(connection: Connection) -> list[tuple[str, int, int, int]]:
    rows = await connection.fetch("SELECT week, revision, figures FROM report ORDER BY week, revision")
    return [
        (str(row["week"]), row["revision"], row["figures"]["totals"]["issued"], row["figures"]["totals"]["declined"])
        for row in rows
    ]


async def _state(connection: Connection, week: ReportingWeek) -> str | None:
    state: str | None = await connection.fetchval("SELECT state FROM week_close WHERE week = $1", week.first)
    return state


async def test_a_week_closes_after_end_and_grace_once_all_records_are_counted(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    chosen = settings(worker="one", first_week=week.first)
    due = week.ends_at + GRACE
    await kafka_log.append(kafka.bootstrap, _in(week, range(20)))
    async with publishing(chosen, due - MOMENT) as publisher:
        assert not await publisher.step(), "a second before grace ends, nothing is due"
        publisher.clock.now = due
        assert await publisher.step()
        assert await _state(connection, week) == "draining"
        barrier = await connection.fetchval("SELECT barrier FROM week_close")
        ends = await kafka_log.ends(kafka.bootstrap)
        assert Vector.from_json(barrier) == ends
        publisher.clock.now = due + timedelta(days=30)
        assert not await publisher.step(), "time alone does not replace uncounted records"
        assert await _reports(connection) == []
        # Above the barrier, before the report: the barrier is a lower bound.
        await kafka_log.append(kafka.bootstrap, _in(week, range(20, 23)))
        await _count(chosen, connection)
        publisher.clock.now = due + timedelta(hours=1)
        assert await publisher.steps() == 1
    assert await _reports(connection) == [(str(week), 1, 23, 23)]
    figures = await connection.fetchval("SELECT figures FROM report")
    positions = await next_offsets(connection)
    assert Vector.from_json(figures["offsets"]) == positions
    assert await _state(connection, week) == "closed"
    assert await connection.fetchval("SELECT published_at FROM report") == due + timedelta(hours=1)


async def test_neither_an_idle_partition_nor_a_stray_event_moves_a_close(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """One partition has an event of next year and all others are idle. Only the clock matters."""
    week = new_week()
    chosen = settings(worker="one", first_week=week.first)
    stray = events.message("issued", events.issued(1, issued_at=(week.ends_at + timedelta(days=365)).isoformat()))
    await kafka_log.append(kafka.bootstrap, [stray])
    await _count(chosen, connection)
    async with publishing(chosen, week.ends_at + GRACE - MOMENT) as publisher:
        assert await publisher.steps() == 0
        publisher.clock.now += MOMENT
        assert await publisher.steps() == 2
    assert await _reports(connection) == [(str(week), 1, 0, 0)]


async def test_weeks_close_in_order_including_empty_ones(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    weeks = [new_week()]
    chosen = settings(worker="one", first_week=weeks[0].first)
    for _ in range(3):
        weeks.append(chosen.calendar.next(weeks[-1]))
    third = weeks[2]
    await kafka_log.append(kafka.bootstrap, _in(third, range(5)))
    await _count(chosen, connection)
    async with publishing(chosen, third.ends_at + GRACE) as publisher:
        assert await publisher.steps() == 6, "barrier and report of three weeks; the fourth is not due"
    assert await _reports(connection) == [(str(weeks[0]), 1, 0, 0), (str(weeks[1]), 1, 0, 0), (str(third), 1, 5, 5)]
    sent = await connection.fetch("SELECT key FROM outbox WHERE topic = $1 ORDER BY id", REPORT_READY)
    assert [row["key"].decode() for row in sent] == [str(week) for week in weeks[:3]]


async def test_an_earlier_week_closes_only_on_request_and_without_grace(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    later = week.first + timedelta(days=28)
    chosen = settings(worker="one", first_week=later)
    await kafka_log.append(kafka.bootstrap, _in(week, range(4)))
    await _count(chosen, connection)
    async with publishing(chosen, week.ends_at + MOMENT) as publisher:
        assert await publisher.steps() == 0, "importing history publishes nothing by itself"
        await publisher.store.request(week.first, "a test", datetime.now(UTC))
        assert await publisher.steps() == 2
        assert await publisher.steps() == 0
    assert await _reports(connection) == [(str(week), 1, 4, 4)]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("UPDATE weekly_counter SET n = n + 1 WHERE kind = 'issued'", "counters differ from the ledger in 1 cells"),
        ("DELETE FROM weekly_counter WHERE kind = 'declined'", "counted 0, in the ledger 3"),
        ("INSERT INTO weekly_counter SELECT week, '32031', 'issued', 1 FROM weekly_counter LIMIT 1", "in the ledger 0"),
        ("DELETE FROM ledger_entry WHERE kind = 'issued'", "in the ledger 0"),
        ("UPDATE partition_position SET records = records + 1 WHERE records > 0", "records are not accounted for"),
        (
            "UPDATE partition_position SET duplicates = duplicates + 1 WHERE partition = 3",
            "records are not accounted for",
        ),
    ],
)
async def test_invariant_1_a_report_that_violates_it_is_refused(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart, harm: str, message: str
) -> None:
    week = new_week()
    chosen = settings(worker="one", first_week=week.first)
    await kafka_log.append(kafka.bootstrap, _in(week, range(3)))
    await _count(chosen, connection)
    async with publishing(chosen, week.ends_at + GRACE) as publisher:
        assert await publisher.step()
        await connection.execute(harm)
        queries: list[str] = []
        publisher.store._connection.add_query_logger(lambda one: queries.append(one.query))
        for seconds, proofs in ((0, 1), (30, 1), (61, 2)):
            publisher.clock.now = week.ends_at + GRACE + timedelta(seconds=seconds)
            with pytest.raises(InvariantError, match=message):
                await publisher.step()
            assert queries.count(SQL["unequal"]) == proofs, "not repeated at each step: it reads the whole ledger"
        assert await _reports(connection) == []
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
        assert await _state(connection, week) == "draining"


async def test_only_one_publisher_leads(settings: MakeSettings) -> None:
    week = new_week()
    chosen = settings(first_week=week.first)
    async with publishing(chosen, week.begins_at), kafka_log.connected(chosen) as other:
        assert not await other.fetchval(SQL["try_lead"])
    async with publishing(chosen, week.begins_at):
        pass  # `publishing` itself asserts that it leads


async def test_a_publisher_that_lost_the_lead_clears_its_leader_metrics(
    settings: MakeSettings,
) -> None:
    """Otherwise WeekOverdue and OutboxOld would keep firing after the leader has published."""
    week = new_week()
    chosen = settings(first_week=week.first)
    async with publishing(chosen, week.ends_at + GRACE) as publisher:
        await publisher.step()
        await publisher.step()
        metrics.OUTBOX_AGE.set(900)
        metrics.REFUSED_RESTATEMENTS.set(1)
        assert 'ddor_publisher_week_state{state="draining"} 1.0' in generate_latest().decode()
        waits = asyncio.Event()
        session = asyncio.create_task(publisher.leader.session(waits.set))
        await asyncio.wait_for(waits.wait(), 60)
        session.cancel()
        await asyncio.gather(session, return_exceptions=True)
    shown = generate_latest().decode()
    assert "ddor_publisher_week_state{" not in shown
    for name in ("week_due_timestamp_seconds", "outbox_oldest_age_seconds", "refused_restatements"):
        assert f"ddor_publisher_{name} 0.0" in shown


@pytest.mark.real_kafka("recreates a deleted topic on a metadata request")
async def test_a_log_that_ends_before_the_barrier_stops_publication(
    store_settings: MakeSettings, connection: Connection, own_kafka: KafkaPart
) -> None:
    week = new_week()
    chosen = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first)
    messages = _in(week, range(30))
    await kafka_log.append(own_kafka.bootstrap, messages)
    async with publishing(chosen, week.ends_at + GRACE) as publisher:
        assert await publisher.step()
        await kafka_log.recreate(own_kafka.bootstrap, "detainer-declined")
        for _ in range(2):
            assert not await publisher.step()
        assert await _state(connection, week) == "halted"
        why = await connection.fetchval("SELECT why FROM week_transition WHERE to_state = 'halted'")
        assert why.startswith("LogLost: detainer-declined/")
        assert await _reports(connection) == []
        # The same records again, as from a backup of the log: the close continues.
        await kafka_log.append(own_kafka.bootstrap, [one for one in messages if one.topic == "detainer-declined"])
        assert not await publisher.step()
        assert await _state(connection, week) == "draining"
        await _count(chosen, connection)
        assert await publisher.steps() == 1
    assert await _reports(connection) == [(str(week), 1, 30, 30)]
    moves = await connection.fetch("SELECT to_state FROM week_transition ORDER BY id")
    assert [row["to_state"] for row in moves] == ["draining", "halted", "draining", "closed"]
