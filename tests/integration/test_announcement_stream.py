"""`/v1/reports/stream` on a real log and database, over real sockets: the messages of `report-ready`, each once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from deploy.local.parts import KafkaPart
from schemas.topics import REPORT_READY
from schemas.week import ReportingWeek
from services.publisher import kept_messages, recovery
from services.publisher.site import announcement_stream, reader_pool
from services.publisher.site.about import About
from services.publisher.site.routes import Site
from services.runtime import http, metrics, postgres
from services.runtime.clock import system
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.integration.test_recovery import as_of_now
from tests.support import commands, kafka_log
from tests.support.event_source import Event, EventSource
from tests.support.life import Life, both, detainer, living_alone
from tests.support.proxies import Line, in_front
from tests.support.publishing import client, new_week
from tests.support.serving import listening
from tests.support.waiting import until

STREAMS = 30


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> AsyncIterator[Life]:
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first, restatement_weeks=2)
    async with living_alone(settings, week) as life:
        yield life


@pytest.fixture
async def reader(life: Life, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a publisher's routes, on the real server."""
    for name in ("POLL_SECONDS", "SHARED_SECONDS"):
        monkeypatch.setattr(announcement_stream, name, 0.1)
    async with reading(life.settings) as one:
        yield one


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    about, stopping = About.of(settings), asyncio.Event()
    site = Site(lambda: postgres.pool(settings, "ddor-test-http", reader_pool.CONNECTIONS), about, system, stopping)
    app = http.application(site.routes, site.waiting_for, site.connected, stopping)
    async with (
        listening(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as one,
    ):
        yield one


async def on_the_topic(life: Life) -> list[Event]:
    """The events that the stream must have, from the records of `report-ready`."""
    records = await kafka_log.read(life.settings.kafka_bootstrap, REPORT_READY)
    values = [(one.offset, one.value or b"") for one in records]
    return [Event(str(offset), json.loads(value)["type"], value) for offset, value in values]


async def publish(life: Life, week: ReportingWeek, number: int) -> ReportingWeek:
    """Close a week with one detainer, and send. Returns the week after it."""
    await life.write(*both([number], week))
    await life.close(week)
    await life.send()
    return life.settings.calendar.next(week)


async def publish_three_weeks(life: Life, week: ReportingWeek) -> list[Event]:
    """Three weeks, a revision of the first, and its final notice. Returns the events."""
    second = await publish(life, week, 1)
    await life.write(detainer("declined", 500, week))
    await publish(life, await publish(life, second, 2), 3)
    life.publisher.clock.now += timedelta(seconds=1)
    for _ in range(2):
        await life.send()
    events = await on_the_topic(life)
    assert [one.type for one in events] == ["report-ready"] * 4 + ["report-final"]
    return events


async def test_the_stream_has_the_messages_of_the_topic_byte_for_byte_in_order(
    life: Life, week: ReportingWeek, reader: httpx.AsyncClient
) -> None:
    events = await publish_three_weeks(life, week)
    assert await EventSource(reader).take(len(events)) == events
    for number, event in enumerate(events[:-1]):
        resumed = EventSource(reader)
        resumed.last_event_id = event.id
        assert await resumed.take(len(events) - number - 1) == events[number + 1 :]
    after = EventSource(reader, f"/v1/reports/stream?from={events[2].id}")
    assert await after.take(len(events) - 3) == events[3:]


async def test_a_revision_is_in_the_stream_when_it_is_on_the_topic(
    life: Life, week: ReportingWeek, reader: httpx.AsyncClient
) -> None:
    source = EventSource(reader, "/v1/reports/stream")
    async with source.connected() as events:
        await life.write(*both(range(3), week))
        await life.close(week)
        assert len((await reader.get("/v1/reports")).json()["reports"]) == 1
        waiting = asyncio.ensure_future(anext(events))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.5)
        await life.send()
        assert await asyncio.wait_for(waiting, 5) == (await on_the_topic(life))[0]


async def test_a_client_that_got_no_event_resumes_where_it_connected(
    life: Life, week: ReportingWeek, reader: httpx.AsyncClient
) -> None:
    source = EventSource(reader, "/v1/reports/stream")
    async with source.connected() as events:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.5)
    assert source.last_event_id == "beginning"
    await publish(life, week, 1)
    assert await source.take(1) == await on_the_topic(life)


async def test_thirty_clients_that_reconnect_at_any_time_get_each_event_once(
    life: Life, week: ReportingWeek, reader: httpx.AsyncClient
) -> None:
    got: list[list[Event]] = [[] for _ in range(STREAMS)]
    published = asyncio.Event()
    events: list[Event] = []
    lost = 0

    async def consume(number: int) -> None:
        nonlocal lost
        source, chance = EventSource(reader), random.Random(number)
        while not published.is_set() or len(got[number]) < len(events):
            async with source.connected() as stream:
                try:
                    async with asyncio.timeout(chance.uniform(0.05, 1.5)):
                        async for event in stream:
                            got[number].append(event)
                except TimeoutError:
                    lost += 1

    weeks = [week]
    while len(weeks) < 8:
        weeks.append(life.settings.calendar.next(weeks[-1]))
    # Counted before the clients share this loop: an aggregator's transaction has a time limit.
    await life.write(*(event for number, one in enumerate(weeks) for event in both([number], one)))
    consuming = [asyncio.create_task(consume(number)) for number in range(STREAMS)]
    for one in weeks:
        await life.close(one)
        await life.send()
    events += await on_the_topic(life)
    published.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*consuming)
    assert len(events) > 8, "revisions, and final notices"
    assert all(one == events for one in got)
    assert lost > STREAMS, "each client has lost its connection"


async def test_streams_of_clients_that_have_closed_their_side_end_without_a_write(
    reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel of a closed client acknowledges bytes until the first write is refused."""
    monkeypatch.setattr(announcement_stream, "HEARTBEAT_SECONDS", 1e9)
    before = metrics.STREAMS._value.get()

    async def once(*, reads: bool) -> None:
        stream, writer = await asyncio.open_connection(reader.base_url.host, reader.base_url.port)
        writer.write(b"GET /v1/reports/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        if reads:
            await stream.readuntil(b"id: ")
            await until(lambda: _answer(metrics.STREAMS._value.get() > before), "the stream is open")
        writer.close()

    for _ in range(10):
        await asyncio.gather(*(once(reads=bool(one % 2)) for one in range(STREAMS)))
    await until(lambda: _answer(metrics.STREAMS._value.get() == before), "all streams have ended")


async def _answer(given: bool) -> bool:
    return given


async def test_recovered_revisions_have_the_bytes_and_ids_of_the_topic(
    life: Life, week: ReportingWeek, reader: httpx.AsyncClient
) -> None:
    second = await publish(life, week, 1)
    source = EventSource(reader)
    assert len(await source.take(1)) == 1
    async with as_of_now(life):
        await life.write(detainer("declined", 500, week))
        await publish(life, second, 2)
        events = await on_the_topic(life)
        assert await source.take(2) == events[1:]
    refused = await reader.get("/v1/reports/stream", headers={"Last-Event-ID": source.last_event_id})
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown-event-id")
    assert (await commands.ddor(life.settings, "recover", "--by", "Ada")).exit_code == 0
    kafka = client(life.settings)
    await recovery.check(life.connection, kafka)
    assert await kept_messages.complete(life.connection, kafka) == 2
    assert await EventSource(reader).take(3) == events
    await publish(life, life.settings.calendar.next(second), 3)
    assert (await source.take(1))[0] == (await on_the_topic(life))[-1], "the client continues after its last id"


async def test_messages_that_an_earlier_release_deleted_are_read_from_the_topic(
    life: Life, week: ReportingWeek, reader: httpx.AsyncClient
) -> None:
    events = await publish_three_weeks(life, week)
    await life.connection.execute("DELETE FROM outbox WHERE id <> (SELECT max(id) FROM outbox)")
    kafka = client(life.settings)
    assert await kept_messages.complete(life.connection, kafka) == len(events) - 1
    assert await kept_messages.complete(life.connection, kafka) == 0
    assert await EventSource(reader).take(len(events)) == events
    assert await life.send() == 0, "they are not sent again"


async def test_a_stream_continues_after_postgresql_was_unreachable(
    life: Life, week: ReportingWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_pool, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(announcement_stream, "POLL_SECONDS", 0.1)
    async with in_front(life.settings.postgres_dsn.get_secret_value(), Line()) as (dsn, line):
        settings = life.settings.model_copy(update={"postgres_dsn": SecretStr(dsn)})
        async with reading(settings) as reader, EventSource(reader).connected() as events:
            second = await publish(life, week, 1)
            assert await anext(events) == (await on_the_topic(life))[0]
            line.open.clear()
            await publish(life, second, 2)
            assert (await reader.get("/v1/reports/stream")).status_code == 503, "a new stream is refused"
            line.open.set()
            async with asyncio.timeout(20):
                assert await anext(events) == (await on_the_topic(life))[1]
