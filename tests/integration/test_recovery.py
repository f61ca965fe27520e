"""A database from a backup: the publisher detects missing revisions and stops; `ddor recover` restores them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.local.parts import KafkaPart
from schemas.week import ReportingWeek
from services.cli.main import command
from services.publisher import app as publisher
from services.publisher import recovery
from services.publisher.announcements import Announced
from services.publisher.queries import SQL
from tests.conftest import MakeSettings
from tests.support import commands
from tests.support.events import CLARK
from tests.support.in_process import is_ready, running
from tests.support.life import Life, both, changes, detainer, living_alone, prove_chain
from tests.support.publishing import ANY_SKEW, client, new_week
from tests.support.waiting import until

_ROLLED_BACK = ("report", "published_figure", "line_list", "week_close", "week_transition", "outbox", "input")


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> AsyncIterator[Life]:
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first, restatement_weeks=2)
    async with living_alone(settings, week) as life:
        yield life


@asynccontextmanager
async def as_of_now(life: Life) -> AsyncIterator[None]:
    """Dump the publisher's tables and restore them at the end: changes in between are lost."""
    for table in _ROLLED_BACK:
        await life.connection.execute(f"CREATE TABLE kept_{table} AS TABLE {table}")
    yield
    names = ", ".join(_ROLLED_BACK)
    await life.connection.execute(f"TRUNCATE {names}")
    for table in _ROLLED_BACK:
        columns = await life.connection.fetchval(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''", table
        )  # fmt: skip
        await life.connection.execute(
            f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM kept_{table}"
        )


async def _two_weeks_then_lost(life: Life, week: ReportingWeek) -> dict[str, Any]:
    """Publish week 1, then week 2 and revision 2 of week 1, then restore the state before. Returns that revision."""
    await life.write(*both(range(3), week))
    await life.close(week)
    await life.send()
    second = life.settings.calendar.next(week)
    async with as_of_now(life):
        await life.write(detainer("declined", 10, week))
        await life.close(second)
        await life.send()
        lost = await life.report(week)
        assert lost["revision"] == 2
    assert await life.revisions() == [(str(week), 1, "initial")]
    return lost


async def test_lost_revisions_stop_publishing_until_they_are_recovered(life: Life, week: ReportingWeek) -> None:
    lost = await _two_weeks_then_lost(life, week)
    second = life.settings.calendar.next(week)
    with pytest.raises(recovery.RecoveryNeededError, match="2 announcements are not in the database"):
        await recovery.check(life.connection, client(life.settings))
    async with _served(life) as http:
        await until(lambda: _waits_for(http, "RecoveryNeededError"), "the publisher to report RecoveryNeededError")
        assert (await http.get(f"/v1/reports/{week}")).json()["revision"] == 1, "reports are still served"
        assert await life.revisions() == [(str(week), 1, "initial")], "nothing is published"
        done = await commands.ddor(life.settings, "recover", "--by", "Ada")
        assert done.exit_code == 0, done.output
        assert f"{second}@1: recovered, published" in done.output
        assert f"{week}@2: recovered, published" in done.output
        await until(lambda: is_ready(http), "the publisher ready again")
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
    # The chain continues from the published revisions, with the next number and exact causes.
    await life.write(detainer("declined", 11, week))
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
    """A complete publisher. The publisher of the test has released the lead."""
    await life.publisher.store._connection.execute("SELECT pg_advisory_unlock_all()")
    async with running(publisher.create(life.settings, life.publisher.clock, skew=ANY_SKEW)) as http:
        yield http
    assert await life.publisher.store._connection.fetchval(SQL["try_lead"])


async def _waits_for(http: httpx.AsyncClient, what: str) -> bool:
    response = await http.get("/readyz")
    return response.status_code == 503 and what in response.json()["detail"]


async def test_a_final_week_stays_final(life: Life, week: ReportingWeek) -> None:
    calendar = life.settings.calendar
    await life.write(*both(range(3), week))
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


async def test_a_revision_with_two_contents_stops_publishing(life: Life, week: ReportingWeek) -> None:
    """A restored database that closed a week again, with another result."""
    await life.write(*both(range(3), week))
    async with as_of_now(life):
        await life.close(week)
        await life.send()
    await life.write(detainer("declined", 10, week))
    await life.close(week)
    with pytest.raises(recovery.DigestConflictError, match=f"{week}@1 was published with digest"):
        await recovery.check(life.connection, client(life.settings))
    async with _served(life) as http:
        await until(lambda: _waits_for(http, "DigestConflictError"), "the publisher to report the conflict")
    assert len(await life.announced()) == 1


async def test_a_restatement_waits_until_the_positions_reach_the_recovered_vector(
    life: Life, week: ReportingWeek
) -> None:
    """After a restore the positions are old: nothing is restated to old figures."""
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


def test_recover_requires_a_name() -> None:
    assert CliRunner().invoke(command("recover"), ["recover"]).exit_code == 2


def test_an_announcement_is_written_as_week_and_revision() -> None:
    one = Announced(date(2017, 1, 28), 2, "d", {}, datetime.fromtimestamp(0, UTC), False, 0, b"")
    assert str(one) == "2017-01-28@2"
