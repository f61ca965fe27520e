"""Invariant 5 for the relay: one message for each revision, with the same bytes, after any crash."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError, ProducerFenced

from deploy.local.parts import KafkaPart
from schemas.announcement import report_id
from schemas.log import Vector
from schemas.topics import REPORT_LATEST, REPORT_READY
from schemas.week import ReportingWeek
from services.publisher.closing import Close, State
from services.publisher.leader import LeaderSession
from services.publisher.queries import SQL
from services.publisher.relay import Relay
from services.runtime import metrics
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.batches import CALENDAR
from tests.support.dying import DyingConnection, Fate, KilledError
from tests.support.positions import Connection
from tests.support.publishing import ANY_SKEW, client, new_week, relaying, report_inputs, store

_KILLS = int(os.environ.get("RELAY_KILLS", "30"))
"""How often the relay is killed between sending and marking; 200 take a minute and a half."""


def dies_before_marking(connection: Connection) -> DyingConnection:
    """A connection that simulates a kill before a message is marked as sent."""
    return DyingConnection(connection, Fate(sys.maxsize), SQL["mark_sent"])


async def _publish(settings: Settings, connection: Connection, week: ReportingWeek) -> None:
    """Revision 1 of an empty week."""
    now, close = week.ends_at + timedelta(days=1), Close(State.DRAINING, Vector())
    publishing = store(settings, connection)
    await publishing.set_barrier(week.first, State.OPEN, Vector(), now)
    assert await publishing.publish(week, close, report_inputs(settings), now, now)


async def _messages(kafka: KafkaPart, week: ReportingWeek) -> list[ConsumerRecord[Any, Any]]:
    records = await kafka_log.read(kafka.bootstrap, REPORT_READY)
    return [record for record in records if record.key == str(week).encode()]


async def _run(settings: Settings, connection: Any, week: ReportingWeek) -> int:
    async with relaying(settings, connection, week.ends_at) as relay:
        return await relay.run(week.ends_at)


async def test_a_stored_message_is_sent_once_unchanged(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    await _publish(settings(), connection, week)
    assert await _run(settings(), connection, week) == 2, "one message for each topic"
    assert await _run(settings(), connection, week) == 0
    stored = await connection.fetchrow("SELECT * FROM outbox WHERE topic = $1", REPORT_READY)
    assert stored is not None
    [message] = await _messages(kafka, week)
    assert message.value == stored["value"]
    assert message.timestamp == stored["timestamp_ms"]
    assert {name: value.decode() for name, value in message.headers} == stored["headers"]
    assert message.offset == stored["sent_offset"]
    assert dict(message.headers)["id"].decode() == report_id(week.first, 1)


async def test_invariant_5_a_relay_killed_between_sending_and_marking_sends_one_message_only(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    await _publish(settings(), connection, week)
    with pytest.raises(KilledError):
        await _run(settings(), dies_before_marking(connection), week)
    assert len(await _messages(kafka, week)) == 1
    assert await connection.fetchval("SELECT sent_at FROM outbox WHERE topic = $1", REPORT_READY) is None
    await _run(settings(), connection, week)
    [message] = await _messages(kafka, week)
    marked = await connection.fetchval("SELECT sent_offset FROM outbox WHERE topic = $1", REPORT_READY)
    assert marked == message.offset
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 0


async def test_messages_are_sent_in_the_order_of_publication(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    weeks = [new_week() for _ in range(3)]
    for week in reversed(weeks):
        await _publish(settings(), connection, week)
    await _run(settings(), connection, weeks[0])
    offsets = [(await _messages(kafka, week))[0].offset for week in reversed(weeks)]
    assert offsets == sorted(offsets)


async def test_killed_many_times_between_sending_and_marking(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """Each start finds the messages of the one before. A reader of committed records sees each revision once."""
    weeks = [CALENDAR.week(date(1990, 1, 6) + timedelta(days=7 * number)) for number in range(_KILLS)]
    start = len(await kafka_log.read(kafka.bootstrap, REPORT_READY))
    for number, week in enumerate(weeks):
        await _publish(settings(), connection, week)
        async with relaying(settings(), connection, week.ends_at) as relay:
            assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 2
            await relay.send(await connection.fetch(SQL["unsent"]))
        if number % 10 == 0:  # a relay killed before its commit leaves no messages
            async with relaying(settings(), connection, week.ends_at) as relay:
                await relay._producer.begin_transaction()
                await relay._producer.send(REPORT_READY, b"{}", str(week).encode(), partition=0)
                await relay._producer.flush()
    await _run(settings(), connection, weeks[0])
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 0
    for topic in (REPORT_READY, REPORT_LATEST):
        records = await kafka_log.read(kafka.bootstrap, topic)
        ours = [record.key for record in records if record.key in {str(week).encode() for week in weeks}]
        assert ours == [str(week).encode() for week in weeks], f"{topic}: each revision once, in order"
    offsets = await connection.fetch("SELECT sent_offset FROM outbox WHERE topic = $1 ORDER BY id", REPORT_READY)
    read = await kafka_log.read(kafka.bootstrap, REPORT_READY)
    assert [row["sent_offset"] for row in offsets] == [record.offset for record in read[start:]]


async def test_a_stopped_relay_writes_nothing_after_another_took_over(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    await _publish(settings(), connection, week)
    rows = await connection.fetch(SQL["unsent"])
    old = Relay(client(settings()), connection)
    try:
        await old.start(week.ends_at)
        await _run(settings(), connection, week)
        ends = [len(await kafka_log.read(kafka.bootstrap, topic)) for topic in (REPORT_READY, REPORT_LATEST)]
        with pytest.raises(KafkaError):
            await old.send(rows)
        with pytest.raises((KafkaError, AssertionError)):
            await old.send(rows)
        assert [len(await kafka_log.read(kafka.bootstrap, topic)) for topic in (REPORT_READY, REPORT_LATEST)] == ends
    finally:
        await old.stop()


async def test_a_relay_stopped_inside_a_transaction_writes_nothing(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """The next relay's start aborts uncommitted messages, without waiting for the transaction timeout."""
    week = new_week()
    await _publish(settings(), connection, week)
    old = Relay(client(settings()), connection)
    try:
        await old.start(week.ends_at)
        await old._producer.begin_transaction()
        await (await old._producer.send(REPORT_READY, b"{}", str(week).encode(), partition=0))
        await _run(settings(), connection, week)
        with pytest.raises(ProducerFenced):
            await old._producer.commit_transaction()
    finally:
        await old.stop()
    [message] = await _messages(kafka, week)
    assert message.value != b"{}"


async def test_the_age_of_the_oldest_message_is_in_the_metrics_while_kafka_is_unavailable(
    settings: MakeSettings, connection: Connection
) -> None:
    week = new_week()
    await _publish(settings(), connection, week)
    now = week.ends_at + timedelta(days=1, minutes=7)
    away = settings(kafka_bootstrap="127.0.0.1:1", first_week=week.first)
    leader = LeaderSession(away, client(away), week.first, lambda: report_inputs(away), lambda: now, skew=ANY_SKEW)
    metrics.OUTBOX_AGE.set(0)
    with pytest.raises(BaseExceptionGroup):
        await leader.session(lambda: None)
    assert metrics.OUTBOX_AGE._value.get() == 7 * 60
    async with relaying(settings(), connection, now) as relay:
        await relay.run(now)
    assert metrics.OUTBOX_AGE._value.get() == 0


async def test_rows_that_become_visible_late_do_not_hide_sent_messages(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """Ids are assigned before the commit, so rows with lower ids may appear after others were sent."""
    week = new_week()
    await connection.execute("SELECT setval(pg_get_serial_sequence('outbox', 'id'), 1000)")
    await _publish(settings(), connection, week)
    with pytest.raises(KilledError):
        await _run(settings(), dies_before_marking(connection), week)
    await connection.execute(
        "INSERT INTO outbox (id, topic, key, value, headers, timestamp_ms, created_at) OVERRIDING SYSTEM VALUE"
        " SELECT n, 'detainer-rejected', '', '{}', jsonb_build_object('id', 'late/' || n), 0, now()"
        " FROM generate_series(1, 600) AS n"
    )
    async with relaying(settings(), connection, week.ends_at) as relay:
        assert [await relay.run(week.ends_at) for _ in range(3)] == [500, 100, 0]
    assert len(await _messages(kafka, week)) == 1


@pytest.mark.real_kafka("accepts any timestamp")
async def test_a_message_that_the_broker_refuses_is_not_marked_and_blocks_no_other(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    """If the clock was years ahead when a report was written, Kafka rejects the record's timestamp."""
    week, ahead = new_week(), CALENDAR.week(date(2090, 1, 7))
    await _publish(settings(), connection, week)
    await _publish(settings(), connection, ahead)
    with pytest.raises(KafkaError):
        await _run(settings(), connection, week)
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL") == 0
    assert await _messages(kafka, week) == []
    stamp = round(datetime.now(UTC).timestamp() * 1000)
    await connection.execute("UPDATE outbox SET timestamp_ms = least(timestamp_ms, $1)", stamp)
    assert await _run(settings(), connection, week) == 4
    assert len(await _messages(kafka, week)) == len(await _messages(kafka, ahead)) == 1
