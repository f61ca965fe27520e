"""Invariant 5 on the way out: one message a revision, exactly the same bytes, after any crash."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from deploy.local.parts import KafkaPart
from schemas.report import report_id
from schemas.topics import REPORT_READY
from schemas.week import ReportingWeek
from services.publisher.closing import Close, State
from services.publisher.snapshot import SQL
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.positions import Connection
from tests.support.publishing import new_week, relaying, rules, store


class KilledError(BaseException):
    """The process ends here."""


class DiesBeforeMarking:
    """A connection whose process is killed when it comes to mark a message as sent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, query: str, *arguments: Any) -> str:
        if query == SQL["mark_sent"]:
            raise KilledError
        return await self._connection.execute(query, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def _publish(settings: Settings, connection: Connection, week: ReportingWeek) -> None:
    """Revision 1 of an empty week."""
    now, close = week.ends_at + timedelta(days=1), Close(State.DRAINING, {})
    publishing = store(settings, connection)
    await publishing.set_barrier(week.first, State.OPEN, {}, now)
    assert await publishing.publish(week, close, rules(settings), now, now)


async def _messages(kafka: KafkaPart, week: ReportingWeek) -> list[ConsumerRecord[Any, Any]]:
    records = await kafka_log.read(kafka.bootstrap, REPORT_READY)
    return [record for record in records if record.key == str(week).encode()]


async def _run(settings: Settings, connection: Any, week: ReportingWeek) -> int:
    async with relaying(settings, connection, week.ends_at) as relay:
        return await relay.run(week.ends_at)


async def test_what_is_stored_is_sent_once_as_it_is_stored(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    week = new_week()
    await _publish(settings(), connection, week)
    assert await _run(settings(), connection, week) >= 1
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
        await _run(settings(), DiesBeforeMarking(connection), week)
    assert len(await _messages(kafka, week)) == 1
    assert await connection.fetchval("SELECT sent_at FROM outbox WHERE topic = $1", REPORT_READY) is None
    await _run(settings(), connection, week)
    [message] = await _messages(kafka, week)
    marked = await connection.fetchval("SELECT sent_offset FROM outbox WHERE topic = $1", REPORT_READY)
    assert marked == message.offset
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 0


async def test_messages_go_out_in_the_order_of_publication(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    weeks = [new_week() for _ in range(3)]
    for week in reversed(weeks):
        await _publish(settings(), connection, week)
    await _run(settings(), connection, weeks[0])
    offsets = [(await _messages(kafka, week))[0].offset for week in reversed(weeks)]
    assert offsets == sorted(offsets)
