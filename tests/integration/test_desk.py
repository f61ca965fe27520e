"""The desk over real PostgreSQL and Kafka: its commands work, its numbers are those of `ddor status`."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deploy.local.ports import free_port
from schemas.log import Partition
from schemas.week import ReportingWeek
from services.publisher import app as publisher
from services.publisher.desk import reading
from services.publisher.desk.desk import Desk
from services.runtime.agencies import parse
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.agencies import EXPIRED, LAS_VEGAS, NEW_YORK
from tests.support.commands import Done, ddor
from tests.support.counting import counting
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.life import Life, both, detainer, living
from tests.support.positions import Connection, halted
from tests.support.publishing import ANY_SKEW, Hands, new_week
from tests.support.waiting import until

KEY = SecretStr("planted: a key of the desk")
AUTH = ("ada", KEY.get_secret_value())
ISSUED_3 = Partition("detainer-issued", 3)
OF_THE_DESK = "application_name = 'ddor-publisher-desk' AND datname = current_database()"


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    async with living(settings(first_week=week.first, desk_key=KEY), week) as life:
        yield life


@asynccontextmanager
async def serving(life: Life) -> AsyncIterator[httpx.AsyncClient]:
    """A publisher that waits for the lead, and a client with the key."""
    async with running(publisher.create(life.settings, life.publisher.clock, skew=ANY_SKEW)) as http:
        http.auth = httpx.BasicAuth(*AUTH)
        yield http


@asynccontextmanager
async def desk_of(settings: Settings, now: datetime | None = None) -> AsyncIterator[Desk]:
    """The desk alone."""
    listed = parse(settings.agencies_file.read_bytes()).listed
    desk = Desk(settings, Hands(now or datetime.now(UTC)), lambda: listed, dict)
    try:
        yield desk
    finally:
        await desk.close()


def commands(page: str) -> list[str]:
    """The commands on a page, as an operator copies them."""
    return [html.unescape(one) for one in re.findall(r'<pre class="command">(.*?)</pre>', page)]


async def run(settings: Settings, command: str) -> Done:
    """Run a command as a shell does."""
    program, *arguments = shlex.split(command)
    assert program == "ddor"
    return await ddor(settings, *arguments)


async def test_the_command_on_the_page_releases_a_held_week(life: Life, week: ReportingWeek) -> None:
    await life.write(*both([1], week), detainer("declined", 1, week, reason="capacity"))
    await life.close(week)
    async with serving(life) as http:
        page = (await http.get("/desk")).text
        held_until = await life.connection.fetchval("SELECT held_until::text FROM week_close")
        assert f"The week {week} is held" in page
        assert f"published with flags at {held_until.removesuffix('+00')} UTC" in page
        assert "open-conflicts, facts: 1 facts of this week have two contents under one version" in page
        (command,) = commands(page)
        done = await run(life.settings, command)
        assert (done.exit_code, done.out) == (0, f"{week}: released; the publisher writes its report\n")

        async def shown() -> bool:
            page = (await http.get("/desk")).text
            return "the publisher to write the report; released by YOUR NAME" in page and not commands(page)

        await until(shown, "the release on the page")
        assert f"<strong>release {week}</strong> by YOUR NAME" in (await http.get("/desk")).text
    await life.publisher.steps()
    assert await life.state(week) == "closed"


async def test_the_command_on_the_page_resumes_a_halted_partition(life: Life) -> None:
    await life.halt(ISSUED_3, "TooManyRejects: 201 of the last 1,000 offsets")
    async with serving(life) as http:
        page = (await http.get("/desk")).text
        assert "TooManyRejects: 201 of the last 1,000 offsets" in page
        (command,) = commands(page)
    assert (await run(life.settings, command)).exit_code == 0
    assert await halted(life.connection) == {}


async def test_without_a_key_in_the_settings_the_path_is_unknown(life: Life) -> None:
    closed = life.settings.model_copy(update={"desk_key": None})
    async with running(publisher.create(closed, life.publisher.clock, skew=ANY_SKEW)) as http:
        named = {"X-Request-ID": "one"}
        desk, other = [await http.get(path, auth=AUTH, headers=named) for path in ("/desk", "/no-such-page")]
    assert (desk.status_code, desk.content) == (other.status_code, other.content) == (404, desk.content)
    assert "www-authenticate" not in desk.headers


async def test_a_wrong_key_opens_no_connection(life: Life) -> None:
    async with serving(life) as http:
        for auth in (("ada", "wrong"), ("", ""), (AUTH[1], AUTH[0])):
            response = await http.get("/desk", auth=auth)
            assert (response.status_code, "www-authenticate" in response.headers) == (401, True)
        assert await _connections(life.connection) == 0
        assert (await http.get("/desk")).status_code == 200


async def _connections(connection: Connection) -> int:
    count: int = await connection.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {OF_THE_DESK}")
    return count


AGES = {"at", "age_seconds", "overdue_seconds"}


def ageless(value: Any) -> Any:
    """A document without the parts that depend on when it was read."""
    if isinstance(value, dict):
        return {name: ageless(one) for name, one in value.items() if name not in AGES}
    return [ageless(one) for one in value] if isinstance(value, list) else value


async def test_the_desk_and_ddor_status_show_the_same_numbers(settings: MakeSettings, connection: Connection) -> None:
    chosen = settings()
    messages = [events.message("issued", events.issued(number)) for number in (1, 1, 2)]
    messages.append(events.message("issued", events.issued(1, jurisdiction="32031")))
    messages.append(Message("detainer-issued", b"no event", partition=3))
    await kafka_log.append(chosen.kafka_bootstrap, messages)
    async with counting(chosen) as counter:
        await counter.count()
    await kafka_log.append(chosen.kafka_bootstrap, messages[:3])
    await connection.execute(
        "INSERT INTO week_close VALUES ('2017-01-28', 'draining', $1)", {"detainer-issued": {"3": 999_999}}
    )
    await connection.execute("INSERT INTO worker VALUES ('by-hand', clock_timestamp() + interval '1 hour', 1)")
    await connection.execute(
        "UPDATE partition_position SET halted_reason = 'planted' WHERE topic = 'week-attested' AND partition = 0"
    )
    await connection.execute(
        "INSERT INTO verification (week, records, is_sample, outcome)"
        " VALUES ('2017-01-21', 7, false, 'detainer-issued/3/7: is not counted'), ('2017-01-14', 7, false, '')"
    )
    await connection.execute(
        "INSERT INTO restatement_request (week, by, reason, requested_at)"
        " VALUES ('2017-01-21', 'Ada', 'corrected', now())"
    )
    done = await ddor(chosen, "status", "--json")
    printed = json.loads(done.out)
    async with desk_of(chosen) as desk:
        contents = await desk.contents()
    assert contents.state is not None
    assert contents.growing is not None
    state = json.loads(json.dumps(contents.state))
    state["totals"]["open_conflicts"] = contents.growing.open_conflicts
    state |= {"rejects": contents.growing.rejects, "away": contents.away}
    assert ageless(printed) == ageless(state)
    assert printed["totals"] == {"records": 5, "duplicates": 1, "rejected": 1, "unsent": 1, "open_conflicts": 1}
    assert sum(one["lag"] for one in printed["partitions"]) == 3
    assert [(one["week"], one["outcome"]) for one in printed["verifications"]] == [
        ("2017-01-21", "detainer-issued/3/7: is not counted")
    ]
    assert printed["restatements"][0]["waits_for"] == "the publisher to write the revision"
    assert done.exit_code == 1
    assert "2017-01-21: detainer-issued/3/7: is not counted" in (await ddor(chosen, "status", COLUMNS="300")).out


async def test_an_agency_without_a_fact_or_an_attestation_is_not_heard(life: Life, week: ReportingWeek) -> None:
    await life.write(*both([1], week))
    async with desk_of(life.settings, week.ends_at) as desk:
        contents = await desk.contents()
    assert contents.growing is not None
    assert contents.growing.not_heard is not None
    assert contents.growing.not_heard[str(week)] == [EXPIRED, NEW_YORK], f"{LAS_VEGAS} was heard"


async def test_many_requests_at_once_read_once_over_one_connection(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    read, readings = reading.tables, 0

    async def counted(connection: Connection) -> reading.Tables:
        nonlocal readings
        readings += 1
        return await read(connection)

    monkeypatch.setattr(reading, "tables", counted)
    async with serving(life) as http:
        responses = await asyncio.gather(*(http.get("/desk") for _ in range(50)))
        assert {one.status_code for one in responses} == {200}
        assert readings == 1
        assert await _connections(life.connection) == 1


async def test_the_connection_of_the_desk_cannot_write(store_settings: MakeSettings) -> None:
    async with desk_of(store_settings(kafka_bootstrap=f"127.0.0.1:{free_port()}")) as desk:
        await desk.contents()
        assert desk._connection is not None
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await desk._connection.execute("DELETE FROM week_close")
        assert await desk._connection.fetchval("SHOW statement_timeout") == "2s"


async def test_a_table_that_cannot_be_read_in_time_is_unknown_and_delays_nothing_else(
    store_settings: MakeSettings, connection: Connection
) -> None:
    chosen = store_settings(kafka_bootstrap=f"127.0.0.1:{free_port()}")
    async with desk_of(chosen) as desk, connection.transaction():
        await connection.execute("LOCK TABLE rejected")
        contents = await desk.contents()
        assert contents.state is not None
        assert contents.growing is not None
        assert (contents.growing.rejects, contents.growing.open_conflicts) == (None, 0)


async def test_without_kafka_the_desk_shows_postgresql_and_without_postgresql_kafka(settings: MakeSettings) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    async with desk_of(settings(kafka_bootstrap=nowhere)) as desk:
        contents = await desk.contents()
        assert contents.state is not None
        assert list(contents.away) == ["Kafka"]
        assert {one["lag"] for one in contents.state["partitions"]} == {None}
    async with desk_of(settings(postgres_dsn=f"postgresql://ddor@{nowhere}/ddor")) as desk:
        contents = await desk.contents()
        assert contents.state is None
        assert list(contents.away) == ["PostgreSQL"]
        assert f"PostgreSQL at {nowhere} cannot be reached" in contents.away["PostgreSQL"]
        assert "Kafka" in contents.clocks


async def test_a_publisher_without_postgresql_serves_the_desk_with_503(
    settings: MakeSettings, week: ReportingWeek
) -> None:
    away = settings(postgres_dsn=f"postgresql://ddor@127.0.0.1:{free_port()}/ddor", first_week=week.first, desk_key=KEY)
    async with running(publisher.create(away, Hands(week.ends_at), skew=ANY_SKEW)) as http:

        async def shown() -> bool:
            response = await http.get("/desk", auth=AUTH)
            assert response.status_code == 503
            assert response.headers["cache-control"] == "no-store"
            return "This publisher: closing and sending</h3>" in response.text and "AwayError" in response.text

        await until(shown, "the session's problem on the page")


async def test_a_desk_reads_again_after_its_connection_was_ended(
    store_settings: MakeSettings, connection: Connection
) -> None:
    async with desk_of(store_settings(kafka_bootstrap=f"127.0.0.1:{free_port()}")) as desk:
        assert (await desk.contents()).state is not None
        await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OF_THE_DESK}")

        async def read_again() -> bool:
            return (await desk.contents()).state is not None and await _connections(connection) == 1

        await until(read_again, "a new connection")
