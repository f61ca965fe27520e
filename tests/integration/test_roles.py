"""The roles of the database: the services and commands work with them, and nothing else is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deploy.local.parts import KafkaPart
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.aggregator import retention
from services.aggregator.queries import SQL as AGGREGATOR_SQL
from services.publisher import app as publisher
from services.publisher.policy_file import COLUMNS
from services.publisher.queries import SQL as PUBLISHER_SQL
from services.runtime import postgres, roles
from services.runtime.settings import Settings
from tests.support import kafka_log
from tests.support.agencies import write_agencies
from tests.support.commands import Done, ddor
from tests.support.database_roles import ROLES, name_of, user
from tests.support.in_process import is_ready, running
from tests.support.life import both, detainer
from tests.support.positions import Connection
from tests.support.publishing import ANY_SKEW, Hands, all_sent, new_week
from tests.support.waiting import until


@dataclass(frozen=True)
class Served:
    """An aggregator and a publisher with their roles; the publisher has closed two weeks."""

    dsns: dict[str, str]
    http: httpx.AsyncClient
    week: ReportingWeek
    clock: Hands
    settings: Settings
    connection: Connection
    reject: str

    def of(self, role: str) -> Settings:
        """The settings of a process with this role."""
        return self.settings.model_copy(update={"postgres_dsn": SecretStr(self.dsns[role])})

    async def operator(self, *arguments: str) -> Done:
        """Run a command as an operator. It must succeed."""
        done = await ddor(self.of("ddor_operator"), *arguments)
        assert done.exit_code == 0, (arguments, done.output)
        return done


@pytest.fixture(scope="module")
async def served(
    own_kafka: KafkaPart, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    week = new_week()
    settings = Settings(
        postgres_dsn=SecretStr(module_database),
        kafka_bootstrap=own_kafka.bootstrap,
        agencies_file=write_agencies(tmp_path_factory.mktemp("agencies") / "agencies.toml"),
        first_week=week.first,
        line_list="coarse",
        worker="one",
    )
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(kafka_log.connected(settings))
        await roles.install(connection)
        await roles.grant(connection)
        dsns = {role: await stack.enter_async_context(user(module_database, role)) for role in ROLES}
        messages = [*both(range(8), week), detainer("issued", 90, week, jurisdiction="32999")]
        addresses = await kafka_log.append(own_kafka.bootstrap, messages)
        clock = Hands(week.ends_at + timedelta(hours=24))
        counting = settings.model_copy(update={"postgres_dsn": SecretStr(dsns["ddor_aggregator"])})
        publishing = settings.model_copy(
            update={
                "postgres_dsn": SecretStr(dsns["ddor_publisher"]),
                "reader_postgres_dsn": SecretStr(dsns["ddor_reader"]),
            }
        )
        await stack.enter_async_context(running(aggregator.create(counting)))
        await kafka_log.counted(connection, own_kafka.bootstrap)
        http = await stack.enter_async_context(running(publisher.create(publishing, clock, skew=ANY_SKEW)))
        await until(lambda: is_ready(http), "the publisher ready")
        served = Served(dsns, http, week, clock, settings, connection, "/".join(map(str, addresses[-1])))
        await _close(served, settings.calendar.next(week), 2)
        yield served


async def _close(served: Served, week: ReportingWeek, count: int) -> None:
    served.clock.now = week.ends_at + timedelta(hours=25)

    async def closed() -> bool:
        number: int = await served.connection.fetchval("SELECT count(DISTINCT week) FROM report")
        return number == count and await all_sent(served.connection)

    await until(closed, f"{count} weeks closed and sent")


async def test_pages_are_read_by_the_reader_and_facts_by_the_publisher(served: Served) -> None:
    for path in (
        "/",
        "/reports",
        "/feed.atom",
        f"/v1/reports/{served.week}.json",
        f"/v1/reports/{served.week}.csv",
        f"/v1/reports/{served.week}/revisions/1/line-list",
        f"/reports/{served.week}",
        "/jurisdictions/32003",
        "/v1/series?geoid=32003",
    ):
        response = await served.http.get(path)
        assert response.status_code == 200, (path, response.text)
    rows = await served.connection.fetch(
        "SELECT DISTINCT application_name, usename FROM pg_stat_activity WHERE datname = current_database()"
    )
    users = {(row["application_name"], row["usename"]) for row in rows}
    assert ("ddor-publisher-http", name_of(served.dsns["ddor_reader"])) in users
    assert ("ddor-publisher", name_of(served.dsns["ddor_publisher"])) in users
    assert ("ddor-aggregator-lease", name_of(served.dsns["ddor_aggregator"])) in users


async def test_the_whole_site_is_written_with_the_right_to_read_pages(served: Served, tmp_path: Path) -> None:
    done = await ddor(served.of("ddor_reader"), "site", str(tmp_path / "site"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "site" / "index.html").exists()


async def test_an_operator_runs_every_command_but_recover(served: Served, tmp_path: Path) -> None:
    operator, week = served.operator, str(served.week)
    await operator("status")
    await operator("verify", week)
    assert served.reject in (await operator("rejected", "list")).out
    assert "unknown-jurisdiction" in (await operator("rejected", "show", served.reject)).out
    still = await ddor(served.of("ddor_operator"), "rejected", "redrive", served.reject, "--by", "a.smith")
    assert "still invalid" in still.output
    await operator("rejected", "purge", "--by", "a.smith")
    await operator("trace", served.reject)
    file = tmp_path / "policies.csv"
    file.write_text(",".join(COLUMNS) + "\n48,2009-12,2010-01-01,,judicial-warrant,https://example.org/48,\n")
    await operator("policies", "load", str(file), "--by", "a.smith")
    await operator("policies", "list")
    assert "no figure has changed" in (await operator("restate", week, "--by", "a", "--reason", "asked")).output
    past = str(served.settings.calendar.week(served.week.first - timedelta(days=14)))
    await operator("close", past, "--by", "a.smith", "--wait", "60")
    await operator("withdraw-lines", week, "--by", "a.smith", "--reason", "request")
    assert (await served.http.get(f"/v1/reports/{week}/revisions/1/line-list")).status_code == 410
    await operator("site", str(tmp_path / "site"))


async def test_an_operator_resumes_a_partition_and_releases_the_week_that_it_holds(served: Served) -> None:
    await served.connection.execute(
        "UPDATE partition_position SET halted_reason = 'TooManyRejects', halted_offset = next_offset"
        " WHERE topic = 'detainer-issued' AND partition = 0"
    )
    before: int = await served.connection.fetchval("SELECT count(DISTINCT week) FROM report")
    newest: date = await served.connection.fetchval("SELECT max(week) FROM report")
    week = served.settings.calendar.next(served.settings.calendar.week(newest))
    served.clock.now = week.ends_at + timedelta(hours=24)
    held = "SELECT state = 'held' FROM week_close WHERE week = $1"
    await until(lambda: served.connection.fetchval(held, week.first), "the week held")
    await served.operator("release", str(week), "--by", "a.smith", "--note", "checked")
    await served.operator("resume", "detainer-issued/0", "--by", "a.smith")
    await _close(served, week, before + 1)
    signed = await served.connection.fetchval("SELECT figures -> 'sign_offs' FROM report WHERE week = $1", week.first)
    assert [one["by"] for one in signed] == ["a.smith"]


async def test_recover_needs_the_publisher_too(served: Served) -> None:
    refused = await ddor(served.of("ddor_reader"), "recover", "--by", "a.smith")
    assert (refused.exit_code, "PostgreSQL does not allow this" in refused.output) == (2, True), refused.output
    assert "Traceback" not in refused.output
    async with user(served.settings.postgres_dsn.get_secret_value(), "ddor_operator", "ddor_publisher") as dsn:
        both_roles = served.settings.model_copy(update={"postgres_dsn": SecretStr(dsn)})
        done = await ddor(both_roles, "recover", "--by", "a.smith")
        assert (done.exit_code, "nothing to recover" in done.output) == (0, True), done.output


async def test_a_lost_report_is_recovered_with_both_roles(served: Served) -> None:
    lost = await served.connection.fetchrow("SELECT week, revision, digest FROM report ORDER BY sequence DESC LIMIT 1")
    assert lost is not None
    key = (lost["week"], lost["revision"])
    for table in ("published_figure", "line_list", "report"):
        await served.connection.execute(f"DELETE FROM {table} WHERE (week, revision) = ($1, $2)", *key)
    async with user(served.settings.postgres_dsn.get_secret_value(), "ddor_operator", "ddor_publisher") as dsn:
        both_roles = served.settings.model_copy(update={"postgres_dsn": SecretStr(dsn)})
        done = await ddor(both_roles, "recover", "--by", "a.smith")
    assert (done.exit_code, f"{lost['week']}@{lost['revision']}: recovered" in done.output) == (0, True), done.output
    assert await served.connection.fetchval("SELECT digest FROM report WHERE week = $1", lost["week"]) == lost["digest"]


@pytest.mark.parametrize(
    ("role", "application", "statement"),
    [
        ("ddor_aggregator", "ddor-aggregator-lease", AGGREGATOR_SQL["terminate_session"]),
        ("ddor_publisher", "ddor-publisher", PUBLISHER_SQL["end_session"]),
    ],
)
async def test_a_process_ends_the_session_of_a_stopped_one_and_no_other_user_can(
    served: Served, role: str, application: str, statement: str
) -> None:
    stopped, successor = [await postgres.connect(served.of(role), application) for _ in range(2)]
    stranger = await postgres.connect(served.of("ddor_operator"), application)
    pid = stopped.get_server_pid()
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.fetchval(statement, pid)
        assert await successor.fetchval(statement, pid)
        await until(lambda: asyncio.sleep(0, stopped.is_closed()), "the session ended")
    finally:
        for connection in (stopped, successor, stranger):
            connection.terminate()


async def test_the_aggregator_deletes_expired_rejects(served: Served) -> None:
    await served.connection.execute("UPDATE rejected SET rejected_at = now() - interval '401 days'")
    connection = await postgres.connect(served.of("ddor_aggregator"), "ddor-test")
    try:
        assert await retention.prune(connection, datetime.now(UTC)) == 1
        assert await retention.purge(connection, datetime.now(UTC)) == 0
    finally:
        connection.terminate()
