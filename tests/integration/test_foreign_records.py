"""Foreign records on `report-ready` are skipped. A record that may hide an announcement stops the publisher."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client import REGISTRY

from deploy.local.parts import KafkaPart
from schemas.topics import REPORT_LATEST, REPORT_READY
from schemas.week import ReportingWeek
from services.publisher import app as publisher
from services.publisher.queries import SQL
from tests.conftest import MakeSettings
from tests.support import commands, foreign, kafka_log
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import Message
from tests.support.life import Life, both, detainer, living
from tests.support.positions import Connection
from tests.support.publishing import ANY_SKEW, all_sent, new_week, relaying
from tests.support.waiting import until

_UNREADABLE = b'{"type":"report-ready","source":"/publisher","data":{"week_start":"2017-01-28"}}'
_FOREIGN = [
    *(Message(REPORT_READY, value, b"a key", 0) for value in foreign.CORPUS.values()),
    Message(REPORT_READY, b"hello", partition=0, headers=[("id", b"\xff"), ("", b"")]),
    Message(REPORT_READY, b"hello", partition=0, headers=[("id", b"\x00")]),
]
_unused = itertools.count(1)
"""Of detainers: the log is one for all tests here, and `ddor verify` reads it from its beginning."""


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> AsyncIterator[Life]:
    """A published week, with separate topics."""
    for topic in (REPORT_READY, REPORT_LATEST):
        await kafka_log.recreate(own_kafka.bootstrap, topic)
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first)
    async with kafka_log.connected(settings) as connection:
        await kafka_log.begin_at_the_ends(connection, own_kafka.bootstrap)
    async with living(settings, week) as life:
        first = 100 * next(_unused)
        await life.write(*both(range(first, first + 3), week))
        await life.close(week)
        await life.send()
        yield life


async def _write(life: Life, *messages: Message) -> list[str]:
    addresses = await kafka_log.append(life.settings.kafka_bootstrap, messages)
    return ["/".join(map(str, address)) for address in addresses]


@asynccontextmanager
async def _served(life: Life) -> AsyncIterator[httpx.AsyncClient]:
    """A complete publisher. The publisher of the test has released the lead."""
    await life.publisher.store._connection.execute("SELECT pg_advisory_unlock_all()")
    async with running(publisher.create(life.settings, life.publisher.clock, skew=ANY_SKEW)) as http:
        yield http
    assert await life.publisher.store._connection.fetchval(SQL["try_lead"])


async def _waits_for(http: httpx.AsyncClient, what: str) -> bool:
    response = await http.get("/readyz")
    return response.status_code == 503 and what in response.json()["detail"]


async def test_foreign_records_on_report_ready_stop_no_reader_and_are_counted(life: Life, week: ReportingWeek) -> None:
    await _write(life, *_FOREIGN)
    second = life.settings.calendar.next(week)
    await life.write(detainer("declined", 100 * next(_unused), week))
    async with _served(life) as http:
        await until(lambda: is_ready(http), "the publisher ready")
        assert REGISTRY.get_sample_value("ddor_publisher_foreign_records", {"topic": REPORT_READY}) == len(_FOREIGN)
        life.due(second)
        await until(lambda: _has(http, f"/v1/reports/{week}/revisions/2"), "the next week closed and this one restated")
        await until(lambda: all_sent(life.connection), "all messages sent: an interrupted transaction stays open")
    assert [str(one) for one in await life.announced()] == [f"{week}@1", f"{second}@1", f"{week}@2"]
    for command in (("recover", "--by", "Ada"), ("verify", f"{week}@2")):
        done = await commands.ddor(life.settings, *command)
        assert done.exit_code == 0, done.output
    assert (await commands.ddor(life.settings, "status")).exit_code == 1, "no aggregator runs here"


async def _has(http: httpx.AsyncClient, path: str) -> bool:
    return (await http.get(path)).status_code == 200


async def test_a_record_that_may_hide_an_announcement_stops_the_publisher_until_it_is_disregarded(
    life: Life, week: ReportingWeek
) -> None:
    [where] = await _write(life, Message(REPORT_READY, _UNREADABLE, partition=0))
    async with _served(life) as http:
        await until(lambda: _waits_for(http, "UnreadableAnnouncementError: 1 records"), "the error in /readyz")
        assert await _waits_for(http, where)
        assert (await http.get(f"/v1/reports/{week}")).json()["revision"] == 1, "reports are still served"
        recovered = await commands.ddor(life.settings, "recover", "--by", "Ada")
        verified = await commands.ddor(life.settings, "verify", f"{week}@1")
        assert (recovered.exit_code, verified.exit_code) == (2, 1)
        for output in (recovered.output, verified.output):
            assert where in output
            assert "Traceback" not in output
        elsewhere = await commands.ddor(life.settings, "recover", "--by", "Ada", "--disregard", "report-ready/0/0")
        assert (elsewhere.exit_code, "not the address" in elsewhere.output) == (2, True)
        done = await commands.ddor(life.settings, "recover", "--by", "Ada", "--disregard", where)
        assert done.exit_code == 0, done.output
        assert "nothing to recover" in done.output
        await until(lambda: is_ready(http), "the publisher ready again")
    assert (await commands.ddor(life.settings, "verify", f"{week}@1")).exit_code == 0
    rows = await life.connection.fetch("SELECT by, action, subject FROM operator_action")
    assert [tuple(row) for row in rows] == [("Ada", "disregard", where)]


async def test_an_announcement_that_a_mirror_wrote_twice_is_recovered_once(life: Life, week: ReportingWeek) -> None:
    [one] = await kafka_log.read(life.settings.kafka_bootstrap, REPORT_READY)
    await _write(life, Message(REPORT_READY, one.value, one.key, 0, one.headers))
    await life.connection.execute(
        "TRUNCATE report, published_figure, line_list, week_close, week_transition, outbox, input"
    )
    done = await commands.ddor(life.settings, "recover", "--by", "Ada")
    assert (done.exit_code, done.out.count(": recovered")) == (0, 1), done.output


async def _send_unmarked(life: Life, week: ReportingWeek) -> None:
    """Publish a week and send its messages without marking them, as a relay killed in between."""
    await life.close(week)
    async with relaying(life.settings, life.connection, week.ends_at) as relay:
        assert len(await relay.send(await life.connection.fetch(SQL["unsent"]))) == 2


async def _ready_messages(life: Life, week: ReportingWeek) -> int:
    records = await kafka_log.read(life.settings.kafka_bootstrap, REPORT_READY)
    return sum(record.key == str(week).encode() and record.value is not None for record in records)


async def test_many_foreign_records_after_a_sent_message_do_not_cause_a_second_send(
    life: Life, week: ReportingWeek
) -> None:
    second = life.settings.calendar.next(week)
    await _send_unmarked(life, second)
    await _write(life, *_FOREIGN)
    await _write(life, *[Message(REPORT_READY, b"hello", partition=0)] * 2_100)
    await life.send()
    assert await _ready_messages(life, second) == 1


async def test_a_foreign_record_with_the_id_of_a_message_does_not_mark_it_as_sent(
    life: Life, week: ReportingWeek
) -> None:
    second = life.settings.calendar.next(week)
    await life.close(second)
    event_id = await life.connection.fetchval("SELECT headers ->> 'id' FROM outbox WHERE sent_at IS NULL LIMIT 1")
    await _write(life, Message(REPORT_READY, b"hello", partition=0, headers=[("id", event_id.encode())]))
    await life.send()
    assert await _ready_messages(life, second) == 1


async def test_an_outbox_without_marks_is_compared_with_the_whole_topic(
    life: Life, connection: Connection, week: ReportingWeek
) -> None:
    await life.connection.execute("UPDATE outbox SET sent_at = NULL, sent_offset = NULL")
    await _write(life, *[Message(REPORT_READY, b"hello", partition=0)] * 2_100)
    await life.send()
    assert await _ready_messages(life, week) == 1
