"""The database has one calendar. A process with another calendar counts and closes nothing, and reports it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from deploy.local.parts import KafkaPart
from schemas.week import ReportingCalendar, ReportingWeek, Weekday
from services.aggregator import app as aggregator
from services.publisher import app as publisher
from services.runtime import calendar, migrations
from services.runtime.calendar import CalendarDiffersError
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.commands import ddor
from tests.support.in_process import is_ready, running
from tests.support.life import both, living
from tests.support.positions import Connection, next_offsets, owners
from tests.support.publishing import ANY_SKEW, new_week
from tests.support.waiting import until
from tests.support.zones import renamed

BERLIN = "Europe/Berlin"
NEW_YORK = ("America/New_York", "SATURDAY")
ZONES = [ReportingCalendar(ZoneInfo(zone)) for zone in ("America/New_York", BERLIN, "UTC")]


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


async def _stored(connection: Connection) -> list[tuple[str, ...]]:
    return [tuple(row) for row in await connection.fetch("SELECT zone, starts_on FROM reporting_calendar")]


async def _refused(client: httpx.AsyncClient) -> str:
    """The response of /readyz, once the session has reached the database."""
    detail = ""

    async def named() -> bool:
        nonlocal detail
        response = await client.get("/readyz")
        detail = response.json()["detail"] if response.status_code == 503 else ""
        return "CalendarDiffersError" in detail

    await until(named, "the service to report a different calendar")
    return detail


async def test_processes_that_start_at_once_store_one_calendar(database: str, connection: Connection) -> None:
    connections = [await asyncpg.connect(database, server_settings={"search_path": "ddor"}) for _ in range(12)]
    try:
        outcomes = await asyncio.gather(
            *(calendar.keep(one, ZONES[number % 3]) for number, one in enumerate(connections)), return_exceptions=True
        )
    finally:
        for one in connections:
            await one.close()
    ((zone, starts_on),) = await _stored(connection)
    assert starts_on == "SATURDAY"
    for number, outcome in enumerate(outcomes):
        if ZONES[number % 3].zone.key == zone:
            assert outcome is None
        else:
            assert isinstance(outcome, CalendarDiffersError), outcome


@pytest.mark.parametrize(
    "other", [ReportingCalendar(ZoneInfo(BERLIN)), ReportingCalendar(ZoneInfo("America/New_York"), Weekday.SUNDAY)]
)
async def test_another_zone_or_first_day_is_refused_with_both_calendars_and_the_settings(
    connection: Connection, other: ReportingCalendar
) -> None:
    await calendar.check(connection, other)
    assert await _stored(connection) == [], "a comparison writes nothing"
    await calendar.keep(connection, ReportingCalendar(ZoneInfo("America/New_York")))
    with pytest.raises(CalendarDiffersError) as caught:
        await calendar.keep(connection, other)
    detail = str(caught.value)
    assert f"{other.starts_on.name} in {other.zone.key}" in detail
    assert "DDOR_ZONE=America/New_York and DDOR_WEEK_STARTS_ON=SATURDAY" in detail
    assert await _stored(connection) == [NEW_YORK]


def _new_york(rules: str) -> ReportingCalendar:
    """A zone named New York with the rules of another zone, as in another release of the zone database."""
    return ReportingCalendar(renamed(rules, "America/New_York"))


async def test_processes_with_different_rules_for_one_zone_do_not_both_count(connection: Connection) -> None:
    """The zones have the same name. Without the check, a report contained 63 instead of 120."""
    await calendar.keep(connection, _new_york("America/New_York"))
    for other in (_new_york("America/Toronto"), _new_york("America/Chicago")):
        with pytest.raises(CalendarDiffersError, match="the rules of America/New_York in this process") as caught:
            await calendar.keep(connection, other)
        with pytest.raises(CalendarDiffersError):
            await calendar.check(connection, other)
    assert "the weeks 1969-12-27, 1970-01-03, 1970-01-10, 1970-01-17 and " in str(caught.value)
    assert " more until 2100-12-25 begin or end at a different instant" in str(caught.value)


@pytest.mark.parametrize("same", [_new_york("US/Eastern"), ReportingCalendar(ZoneInfo("US/Eastern"))])
async def test_a_zone_update_that_moves_no_week_is_accepted(connection: Connection, same: ReportingCalendar) -> None:
    await calendar.keep(connection, _new_york("America/New_York"))
    await calendar.keep(connection, same)
    assert await _stored(connection) == [NEW_YORK]


async def test_a_calendar_of_the_previous_version_gets_the_bounds_of_the_first_process(connection: Connection) -> None:
    await connection.execute("INSERT INTO reporting_calendar (zone, starts_on) VALUES ($1, $2)", *NEW_YORK)
    with pytest.raises(CalendarDiffersError, match="DDOR_ZONE=America/New_York"):
        await calendar.keep(connection, ZONES[1])
    await calendar.check(connection, _new_york("America/Chicago"))
    assert await connection.fetchval("SELECT bounds FROM reporting_calendar") is None, "a comparison adds nothing"
    await calendar.keep(connection, _new_york("America/New_York"))
    with pytest.raises(CalendarDiffersError, match="the rules of America/New_York"):
        await calendar.check(connection, _new_york("America/Chicago"))


async def test_an_aggregator_with_another_calendar_takes_no_lease_and_counts_nothing(
    settings: MakeSettings, connection: Connection, kafka: KafkaPart
) -> None:
    async with running(aggregator.create(settings(worker="one"))) as client:
        await until(lambda: is_ready(client), "the aggregator ready")
        await kafka_log.append(kafka.bootstrap, events.mixed(range(10)))
        await kafka_log.counted(connection, kafka.bootstrap)
    assert await _stored(connection) == [NEW_YORK]
    before = await next_offsets(connection)
    await kafka_log.append(kafka.bootstrap, events.mixed(range(10, 30)))
    async with running(aggregator.create(settings(worker="two", zone=BERLIN))) as client:
        detail = await _refused(client)
        assert set((await owners(connection)).values()) == {None}
        assert (await client.get("/livez")).status_code == 200
    assert detail.startswith("leases and positions: CalendarDiffersError: ")
    assert "SATURDAY in Europe/Berlin" in detail
    assert "DDOR_ZONE=America/New_York" in detail
    assert await next_offsets(connection) == before


async def test_a_publisher_with_another_calendar_closes_nothing_and_serves_published_reports(
    settings: MakeSettings, connection: Connection, week: ReportingWeek
) -> None:
    chosen = settings(first_week=week.first)
    await calendar.keep(connection, chosen.calendar)
    other = chosen.model_copy(update={"zone": BERLIN})
    async with running(publisher.create(other, lambda: week.ends_at + timedelta(days=3), skew=ANY_SKEW)) as client:
        detail = await _refused(client)
        assert (await client.get("/v1/reports")).status_code == 200
        assert await connection.fetchval("SELECT count(*) FROM publisher_leader") == 0, "another publisher may lead"
    assert detail.startswith("closing and sending: CalendarDiffersError: ")
    assert await connection.fetchval("SELECT count(*) FROM week_close") == 0


async def test_the_first_publisher_stores_its_calendar(
    settings: MakeSettings, connection: Connection, week: ReportingWeek
) -> None:
    async with running(
        publisher.create(settings(first_week=week.first), lambda: week.begins_at, skew=ANY_SKEW)
    ) as client:
        await until(lambda: is_ready(client), "the publisher ready")
    assert await _stored(connection) == [NEW_YORK]


class TestCommands:
    """Commands that compute a week compare the calendar but do not store it."""

    async def test_report_that_the_database_has_another_calendar(
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

    async def test_store_no_calendar(self, settings: MakeSettings, connection: Connection, week: ReportingWeek) -> None:
        """An operator's shell may have no settings at all."""
        chosen = settings(first_week=week.first + timedelta(days=7))
        done = await ddor(chosen, "close", str(week), "--wait", "0")
        assert done.exit_code == 0, done.output
        assert await _stored(connection) == []


async def test_a_database_of_the_previous_release_gets_the_calendar_of_the_first_process(
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
            await life.write(*both([1, 2], week))
        assert await migrations.apply(connection) == known[3:]
        async with running(aggregator.create(chosen)) as client:
            await until(lambda: is_ready(client), "the aggregator ready")
        assert await _stored(connection) == [NEW_YORK]
        assert await connection.fetchval("SELECT sum(n) FROM weekly_counter") == 4
    finally:
        await connection.close()
