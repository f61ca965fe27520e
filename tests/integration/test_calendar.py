"""The database has one calendar: whoever has another counts and closes nothing, and says so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from deploy import migrations
from deploy.local.parts import KafkaPart
from schemas.week import ReportingCalendar, ReportingWeek, Weekday
from services.aggregator import app as aggregator
from services.publisher import app as publisher
from services.runtime import calendar
from services.runtime.calendar import CalendarDiffersError
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.commands import ddor
from tests.support.in_process import is_ready, running
from tests.support.life import both, living
from tests.support.positions import Connection, next_offsets, owners
from tests.support.publishing import new_week
from tests.support.waiting import until

BERLIN = "Europe/Berlin"
NEW_YORK = ("America/New_York", "SATURDAY")
ZONES = [ReportingCalendar(ZoneInfo(zone)) for zone in ("America/New_York", BERLIN, "UTC")]


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


async def _kept(connection: Connection) -> list[tuple[str, ...]]:
    return [tuple(row) for row in await connection.fetch("SELECT zone, starts_on FROM reporting_calendar")]


async def _refused(client: httpx.AsyncClient) -> str:
    """What /readyz says, once the session has come to the database."""
    said = ""

    async def named() -> bool:
        nonlocal said
        answer = await client.get("/readyz")
        said = answer.json()["detail"] if answer.status_code == 503 else ""
        return "CalendarDiffersError" in said

    await until(named, "the service says that it has another calendar")
    return said


async def test_of_several_that_start_at_once_one_calendar_is_kept(database: str, connection: Connection) -> None:
    connections = [await asyncpg.connect(database, server_settings={"search_path": "ddor"}) for _ in range(12)]
    try:
        outcomes = await asyncio.gather(
            *(calendar.keep(one, ZONES[place % 3]) for place, one in enumerate(connections)), return_exceptions=True
        )
    finally:
        for one in connections:
            await one.close()
    ((zone, starts_on),) = await _kept(connection)
    assert starts_on == "SATURDAY"
    for place, outcome in enumerate(outcomes):
        if ZONES[place % 3].zone.key == zone:
            assert outcome is None
        else:
            assert isinstance(outcome, CalendarDiffersError), outcome


@pytest.mark.parametrize(
    "other", [ReportingCalendar(ZoneInfo(BERLIN)), ReportingCalendar(ZoneInfo("America/New_York"), Weekday.SUNDAY)]
)
async def test_another_zone_and_another_first_day_are_refused_with_both_and_what_to_set(
    connection: Connection, other: ReportingCalendar
) -> None:
    await calendar.check(connection, other)
    assert await _kept(connection) == [], "who only compares writes nothing"
    await calendar.keep(connection, ReportingCalendar(ZoneInfo("America/New_York")))
    with pytest.raises(CalendarDiffersError) as caught:
        await calendar.keep(connection, other)
    said = str(caught.value)
    assert f"{other.starts_on.name} in {other.zone.key}" in said
    assert "DDOR_ZONE=America/New_York and DDOR_WEEK_STARTS_ON=SATURDAY" in said
    assert await _kept(connection) == [NEW_YORK]


async def test_an_aggregator_with_another_calendar_takes_no_lease_and_counts_nothing(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    async with running(aggregator.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        await kafka_log.append(kafka.bootstrap, events.mixed(range(10)))
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await _kept(connection) == [NEW_YORK]
    before = await next_offsets(connection)
    await kafka_log.append(kafka.bootstrap, events.mixed(range(10, 30)))
    async with running(aggregator.create(settings(worker="two", zone=BERLIN))) as client:
        said = await _refused(client)
        assert set((await owners(connection)).values()) == {None}
        assert (await client.get("/livez")).status_code == 200
    assert said.startswith("leases and positions: CalendarDiffersError: ")
    assert "SATURDAY in Europe/Berlin" in said
    assert "DDOR_ZONE=America/New_York" in said
    assert await next_offsets(connection) == before


async def test_a_publisher_with_another_calendar_closes_nothing_and_serves_what_is_published(
    settings: MakeSettings, connection: Connection, week: ReportingWeek
) -> None:
    chosen = settings(first_week=week.first)
    await calendar.keep(connection, chosen.calendar)
    other = chosen.model_copy(update={"zone": BERLIN})
    async with running(publisher.create(other, lambda: week.ends_at + timedelta(days=3))) as client:
        said = await _refused(client)
        assert (await client.get("/v1/reports")).status_code == 200
        assert await connection.fetchval("SELECT count(*) FROM publisher_leader") == 0, "another may lead"
    assert said.startswith("closing and sending: CalendarDiffersError: ")
    assert await connection.fetchval("SELECT count(*) FROM week_close") == 0


async def test_a_publisher_that_is_first_writes_its_calendar(
    settings: MakeSettings, connection: Connection, week: ReportingWeek
) -> None:
    async with running(publisher.create(settings(first_week=week.first), lambda: week.begins_at)) as client:
        await until(lambda: is_ready(client), "the publisher ready")
    assert await _kept(connection) == [NEW_YORK]


class TestCommands:
    """Those that compute a week compare; none of them writes."""

    async def test_say_that_the_database_has_another(
        self, settings: MakeSettings, connection: Connection, week: ReportingWeek
    ) -> None:
        chosen = settings(first_week=week.first + timedelta(days=7))
        await calendar.keep(connection, chosen.calendar)
        for command in (
            ("close", str(week), "--wait", "0"),
            ("release", str(week), "--by", "Ada", "--note", "seen"),
            ("restate", str(week), "--by", "Ada", "--reason", "why", "--wait", "0"),
            ("withdraw-lines", str(week), "--by", "Ada", "--reason", "why"),
            ("verify", str(week)),
        ):
            done = await ddor(chosen, *command, DDOR_ZONE=BERLIN)
            assert (done.exit_code, "CalendarDiffers:" in done.err) == (2, True), done.output
            assert "DDOR_ZONE=America/New_York" in done.err
        for table in ("week_close", "operator_action", "restatement_request"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table

    async def test_write_none(self, settings: MakeSettings, connection: Connection, week: ReportingWeek) -> None:
        """An operator's shell may have no settings at all."""
        chosen = settings(first_week=week.first + timedelta(days=7))
        done = await ddor(chosen, "close", str(week), "--wait", "0")
        assert done.exit_code == 0, done.output
        assert await _kept(connection) == []


async def test_a_database_of_the_program_before_takes_the_calendar_of_who_starts_first(
    empty_database: str, kafka: KafkaPart, agencies_file: object, monkeypatch: pytest.MonkeyPatch, week: ReportingWeek
) -> None:
    chosen = Settings(
        postgres_dsn=empty_database, kafka_bootstrap=kafka.bootstrap, agencies_file=agencies_file,
        kafka_replication=1, first_week=week.first, worker="one",
    )  # fmt: skip
    known = migrations.migrations()
    connection = await asyncpg.connect(empty_database)
    try:
        with monkeypatch.context() as before:
            before.setattr(migrations, "migrations", lambda: known[:3])
            await migrations.apply(connection)
        await kafka_log.begin_at_the_ends(connection, kafka.bootstrap)
        async with living(chosen, week) as life:
            await life.tell(*both([1, 2], week))
        assert await migrations.apply(connection) == known[3:]
        async with running(aggregator.create(chosen)) as client:
            await until(lambda: is_ready(client), "the aggregator ready")
        assert await _kept(connection) == [NEW_YORK]
        assert await connection.fetchval("SELECT sum(n) FROM weekly_counter") == 4
    finally:
        await connection.close()
