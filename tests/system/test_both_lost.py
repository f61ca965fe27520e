"""Kafka and the database are lost. A copy of the log and one of the site restore every report to its bytes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from deploy.local import kafka_jars
from deploy.local.kafka_native import NativeKafka
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands, database_outcome, kafka_log, model, runbook
from tests.support.batches import accepted
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.life import both, detainer, living, prove_chain
from tests.support.local_parts import started
from tests.support.positions import Connection, next_offsets
from tests.support.publishing import new_week

pytestmark = pytest.mark.long("the loss of Kafka besides that of the database, which test_restore_database.py shows")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NativeKafka]:
    """A Kafka whose directory the test copies."""
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    with started(NativeKafka(tmp_path / "kafka")) as part:
        kafka_log.make_topics(part)
        yield part


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
def chosen(store_settings: MakeSettings, broker: NativeKafka, week: ReportingWeek) -> Settings:
    return store_settings(kafka_bootstrap=broker.bootstrap, kafka_replication=1, first_week=week.first, worker="one")


@pytest.fixture
async def after(chosen: Settings, empty_database: str) -> Settings:
    """The same settings, with an empty database instead of the lost one."""
    return Settings.model_validate({**dict(chosen), "postgres_dsn": empty_database})


@pytest.fixture
def variables(chosen: Settings, broker: NativeKafka, tmp_path: Path) -> dict[str, str]:
    paths = {"KAFKA_LOG": broker.directory / "data", "COPY": tmp_path / "copy", "SITE": tmp_path / "site"}
    return commands.environment(chosen) | {name: str(path) for name, path in paths.items()} | {"OPERATOR": "Ada"}


async def _reports(connection: Connection) -> list[tuple[object, ...]]:
    rows = await connection.fetch("SELECT week, revision, digest, figures FROM report ORDER BY sequence")
    return [tuple(row) for row in rows]


async def _copy_log(broker: NativeKafka, variables: Mapping[str, str]) -> None:
    await asyncio.to_thread(broker.stop)
    await runbook.run("copy-log", variables)
    await asyncio.to_thread(broker.start)


async def _lose_and_restore_log(broker: NativeKafka, variables: Mapping[str, str]) -> None:
    broker.kill()
    shutil.rmtree(variables["KAFKA_LOG"])
    await runbook.run("restore-log", variables)
    await asyncio.to_thread(broker.start)


async def test_copies_of_log_and_site_give_the_same_reports(
    chosen: Settings, after: Settings, broker: NativeKafka, variables: dict[str, str], week: ReportingWeek,
    programs: Path,
) -> None:  # fmt: skip
    second, third = chosen.calendar.next(week), chosen.calendar.next(chosen.calendar.next(week))
    log: list[Message] = both(range(3), week)
    async with living(chosen, week) as life:
        await life.write(*log)
        await life.close(week)
        await life.send()
        log.append(detainer("declined", 10, week))
        await life.write(log[-1])
        await life.close(second)
        await life.send()
        reports = await _reports(life.connection)
    assert (await commands.ddor(chosen, "site", variables["SITE"])).exit_code == 0
    await _copy_log(broker, variables)

    await _lose_and_restore_log(broker, variables)
    new = variables | {"DDOR_POSTGRES_DSN": after.postgres_dsn.get_secret_value()}
    printed = await runbook.run("rebuild", new)
    assert printed.count("recovered with its document") == 3, printed
    async with kafka_log.connected(after) as connection:
        assert not await next_offsets(connection), "the aggregator begins at the beginning of the log"
        async with running(aggregator.create(after)):
            await kafka_log.counted(connection, after.kafka_bootstrap)
        assert await database_outcome.outcome(connection) == model.outcome(accepted(log))
        assert await _reports(connection) == reports, "and so the same files of the site"
    printed = await runbook.run("verify-all", new, programs)
    assert printed.count("offsets give the figures digest") == 3, printed
    async with living(after, week) as life:
        log.append(detainer("declined", 11, week))
        await life.write(log[-1])
        await life.close(third)
        await life.send()
        assert await life.revisions() == [
            (str(week), 1, "initial"), (str(second), 1, "initial"), (str(week), 2, "scheduled"),
            (str(third), 1, "initial"), (str(week), 3, "scheduled"),
        ]  # fmt: skip
        assert await prove_chain(life.connection) == 5


async def test_a_log_older_than_the_site_is_noticed_and_the_site_alone_still_proves_the_chain(
    chosen: Settings, after: Settings, broker: NativeKafka, variables: dict[str, str], week: ReportingWeek
) -> None:
    second = chosen.calendar.next(week)
    async with living(chosen, week) as life:
        await life.write(*both(range(3), week))
        await life.close(week)
        await life.send()
    await _copy_log(broker, variables)
    async with living(chosen, week) as life:
        await life.close(second)
        await life.send()
        digest = (await life.report(second))["digest"]
    assert (await commands.ddor(chosen, "site", variables["SITE"])).exit_code == 0

    await _lose_and_restore_log(broker, variables)
    assert (await commands.ddor(after, "migrate")).exit_code == 0
    done = await commands.ddor(after, "recover", "--by", "Ada", "--documents", variables["SITE"])
    assert done.exit_code == 2, done.output
    for words in (
        "has 1 revisions that neither report-ready nor the database has",
        f"{second}@1",
        "Nothing was recovered",
    ):
        assert words in done.output
    async with kafka_log.connected(after) as connection:
        assert await connection.fetchval("SELECT count(*) FROM report") == 0

    printed = await runbook.run("verify-site", variables)
    assert f"complete up to {second}@1, whose digest covers all: {digest}" in printed
    report = Path(variables["SITE"]) / f"v1/reports/{week}/revisions/1.json"
    report.unlink()
    done = await commands.ddor(after, "verify", "--against", variables["SITE"])
    assert (done.exit_code, "which is missing" in done.output) == (1, True), done.output
