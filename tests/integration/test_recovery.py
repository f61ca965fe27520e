"""A database from a backup: the topic says what it lacks, publishing stops, `ddor recover` mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.local.parts import KafkaPart
from schemas.topics import REPORT_LATEST, REPORT_READY
from schemas.week import ReportingWeek
from services.cli.main import app
from services.publisher import app as publisher
from services.publisher import recovery
from services.publisher.snapshot import SQL
from tests.conftest import MakeSettings
from tests.support import commands, kafka_log
from tests.support.events import CLARK
from tests.support.in_process import is_ready, running
from tests.support.life import Life, both, changes, living, prove_chain, told
from tests.support.publishing import client, new_week
from tests.support.waiting import until

_ROLLED_BACK = ("report", "line_list", "week_close", "week_transition", "outbox", "input")


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> AsyncIterator[Life]:
    """On topics of reports of its own: a publisher that starts must agree with all that they say."""
    for topic in (REPORT_READY, REPORT_LATEST):
        await kafka_log.make_anew(own_kafka.bootstrap, topic)
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first, restatement_weeks=2)
    async with kafka_log.connected(settings) as connection:
        await kafka_log.begin_at_the_ends(connection, own_kafka.bootstrap)
    async with living(settings, week) as life:
        yield life


@asynccontextmanager
async def as_of_now(life: Life) -> AsyncIterator[None]:
    """A dump of what the publisher writes, restored at the end: what happened within is lost."""
    for table in _ROLLED_BACK:
        await life.connection.execute(f"CREATE TABLE kept_{table} AS TABLE {table}")
    yield
    names = ", ".join(_ROLLED_BACK)
    await life.connection.execute(f"TRUNCATE {names}")
    for table in _ROLLED_BACK:
        columns = await life.connection.fetchval(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped", table
        )  # fmt: skip
        await life.connection.execute(
            f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM kept_{table}"
        )


async def _two_weeks_then_lost(life: Life, week: ReportingWeek) -> dict[str, Any]:
    """Week 1 is published; then week 2 with a revision 2 of week 1, which a restore forgets. That revision."""
    await life.tell(*both(range(3), week))
    await life.close(week)
    await life.send()
    second = life.settings.calendar.next(week)
    async with as_of_now(life):
        await life.tell(told("declined", 10, week))
        await life.close(second)
        await life.send()
        lost = await life.report(week)
        assert lost["revision"] == 2
    assert await life.revisions() == [(str(week), 1, "initial")]
    return lost


async def test_what_was_published_and_is_lost_stops_publishing_until_it_is_recovered(
    life: Life, week: ReportingWeek
) -> None:
    lost = await _two_weeks_then_lost(life, week)
    second = life.settings.calendar.next(week)
    with pytest.raises(recovery.RecoveryNeededError, match="2 announcements are not in the database"):
        await recovery.check(life.connection, client(life.settings))
    async with _served(life) as http:
        await until(lambda: _waits_for(http, "RecoveryNeededError"), "the publisher says what it needs")
        assert (await http.get(f"/v1/reports/{week}")).json()["revision"] == 1, "reports are served all the same"
        assert await life.revisions() == [(str(week), 1, "initial")], "nothing is published"
        done = await commands.ddor(life.settings, "recover", "--by", "Ada")
        assert done.exit_code == 0, done.output
        assert f"{second}@1: brought back" in done.output
        assert f"{week}@2: brought back" in done.output
        await until(lambda: is_ready(http), "the publisher going on")
        page = await http.get(f"/v1/reports/{week}.html")
        assert page.status_code == 200
        assert "Recovered from its announcement" in page.text
        served = (await http.get(f"/v1/reports/{week}")).json()
        assert (served["digest"], served["totals"]) == (lost["digest"], lost["totals"])
        for form in ("json", "csv", "html"):
            assert (await http.get(f"/v1/reports/{second}.{form}")).status_code == 200
        again = await commands.ddor(life.settings, "recover", "--by", "Ada")
        assert "nothing to recover" in again.output
    rows = await life.connection.fetch("SELECT by, action, detail FROM operator_action")
    assert [(row["by"], row["action"]) for row in rows] == [("Ada", "recover")]
    assert await life.moves(second) == ["published"]
    # The chain goes on from what was published, with the next number and exact causes.
    await life.tell(told("declined", 11, week))
    await life.close(life.settings.calendar.next(second))
    newest = await life.report(week)
    assert newest["revision"] == 3
    assert changes(newest) == {(CLARK, "declined"): (4, 5, {"late": 1})}
    assert await prove_chain(life.connection) == 5
    await life.send()
    await recovery.check(life.connection, client(life.settings))
    assert [one.revision for one in await life.announced() if one.week == week.first] == [1, 2, 3]


@asynccontextmanager
async def _served(life: Life) -> AsyncIterator[httpx.AsyncClient]:
    """A whole publisher beside the life, whose own has given up the lead."""
    await life.publisher.store._connection.execute("SELECT pg_advisory_unlock_all()")
    async with running(publisher.create(life.settings, life.publisher.clock)) as http:
        yield http
    assert await life.publisher.store._connection.fetchval(SQL["try_lead"])


async def _waits_for(http: httpx.AsyncClient, what: str) -> bool:
    answer = await http.get("/readyz")
    return answer.status_code == 503 and what in answer.json()["detail"]


async def test_a_final_week_stays_final(life: Life, week: ReportingWeek) -> None:
    calendar = life.settings.calendar
    await life.tell(*both(range(3), week))
    await life.close(week)
    await life.send()
    last = week
    for _ in range(2):
        last = calendar.next(last)
        await life.close(last)
        await life.send()
    async with as_of_now(life):
        life.publisher.clock.now += timedelta(seconds=1)
        await life.send()
        assert await life.state(week) == "final"
        await life.send()
    assert await life.state(week) == "published"
    with pytest.raises(recovery.RecoveryNeededError, match=f"{week} final"):
        await recovery.check(life.connection, client(life.settings))
    assert (await commands.ddor(life.settings, "recover", "--by", "Ada")).exit_code == 0
    assert await life.state(week) == "final"
    await life.send()
    assert len([one for one in await life.announced() if one.final]) == 1, "it is not announced again"


async def test_another_content_under_one_number_stops_publishing(life: Life, week: ReportingWeek) -> None:
    """A restored database that closed a week again, differently, before anybody looked."""
    await life.tell(*both(range(3), week))
    async with as_of_now(life):
        await life.close(week)
        await life.send()
    await life.tell(told("declined", 10, week))
    await life.close(week)
    with pytest.raises(recovery.DigestConflictError, match=f"{week}@1 was published as"):
        await recovery.check(life.connection, client(life.settings))
    async with _served(life) as http:
        await until(lambda: _waits_for(http, "DigestConflictError"), "the publisher says why it stands")
    assert len(await life.announced()) == 1


async def test_a_restatement_waits_while_the_positions_are_behind_what_was_recovered(
    life: Life, week: ReportingWeek
) -> None:
    """Restored with positions of the past: nothing is restated to what was true then."""
    await _two_weeks_then_lost(life, week)
    assert (await commands.ddor(life.settings, "recover", "--by", "Ada")).exit_code == 0
    now = life.publisher.clock.now
    request = await life.connection.fetchval(SQL["request_restatement"], week.first, "Ada", "look", now)
    await life.connection.execute("UPDATE partition_position SET next_offset = next_offset - 1 WHERE records > 0")
    await life.publisher.step()
    assert await life.connection.fetchval(SQL["restatement_outcome"], request) is None
    await life.connection.execute("UPDATE partition_position SET next_offset = next_offset + 1 WHERE records > 0")
    await life.publisher.step()
    assert await life.connection.fetchval(SQL["restatement_outcome"], request) == "no figure has changed"


def test_the_command_needs_a_name() -> None:
    assert CliRunner().invoke(app, ["recover"]).exit_code == 2


def test_announcements_read_as_places() -> None:
    one = recovery.Announced(date(2017, 1, 28), 2, "d", {}, 0, False)
    assert str(one) == "2017-01-28@2"
    assert one.published_at == datetime.fromisoformat("1970-01-01T00:00:00+00:00")
