"""Kafka is lost and the database is not: with the steps of docs/backup-and-restore.md, counting continues."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import httpx
import pytest

from deploy.local.parts import KafkaPart
from schemas.topics import REPORT_LATEST, REPORT_READY
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.ingest import app as ingest
from services.publisher import app as publisher
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands, database_outcome, kafka_log, model, runbook
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.batches import accepted
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import Message
from tests.support.life import Life, both, detainer, living, prove_chain
from tests.support.positions import Connection, halted, next_offsets
from tests.support.processes import SINGLE
from tests.support.publishing import ANY_SKEW, Hands, new_week
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("creates a topic on a metadata request, and recreates a deleted one")
_APPLY = "run `ddor topics apply`"


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
def chosen(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> Settings:
    return store_settings(kafka_bootstrap=own_kafka.bootstrap, kafka_replication=1, first_week=week.first, worker="one")


async def _says(http: httpx.AsyncClient, words: str) -> bool:
    response = await http.get("/readyz")
    return response.status_code == 503 and words in response.json()["detail"]


async def _reports(connection: Connection) -> list[tuple[object, ...]]:
    rows = await connection.fetch("SELECT week, revision, digest, figures FROM report ORDER BY sequence")
    return [tuple(row) for row in rows]


async def _announced(bootstrap: str, topic: str = REPORT_READY) -> list[tuple[bytes | None, bytes | None]]:
    return [(one.key, one.value) for one in await kafka_log.read(bootstrap, topic)]


async def _accepts(http: httpx.AsyncClient, message: Message) -> bool:
    headers = {"Authorization": f"Bearer {key_of(LAS_VEGAS)}", "Content-Type": SINGLE}
    return (await http.post("/v1/events", content=message.value, headers=headers)).status_code == 202


async def test_after_the_loss_of_kafka_no_report_changes_and_counting_continues(
    chosen: Settings, own_kafka: KafkaPart, connection: Connection, week: ReportingWeek, programs: Path
) -> None:
    second, bootstrap = chosen.calendar.next(week), chosen.kafka_bootstrap
    third = chosen.calendar.next(second)
    variables = commands.environment(chosen) | {"OPERATOR": "Ada"}
    log = both(range(2), week)
    async with living(chosen, week) as life:
        await life.write(*log)
        await life.close(week)
        await life.send()
        log += [detainer("declined", 10, week), detainer("issued", 20, third)]
        await life.write(*log[-2:])
        await life.close(second)
        await life.send()
        assert await life.revisions() == [
            (str(week), 1, "initial"),
            (str(second), 1, "initial"),
            (str(week), 2, "scheduled"),
        ]
        clock = Hands(life.publisher.clock.now)
    lost = {one for one, at in (await next_offsets(connection)).items() if at}
    reports, messages = await _reports(connection), await _announced(bootstrap)
    latest = dict(await _announced(bootstrap, REPORT_LATEST))

    await asyncio.to_thread(own_kafka.destroy)
    await asyncio.to_thread(own_kafka.start)
    resent, fresh = log[-1], detainer("declined", 30, third)
    async with running(ingest.create(chosen)) as receiving, running(aggregator.create(chosen)) as counting:
        async with running(publisher.create(chosen, clock, skew=ANY_SKEW)) as serving:
            for http in (counting, serving):
                await until(partial(_says, http, _APPLY), "the missing topics to be named")
            assert not await _accepts(receiving, fresh), "ingest acknowledges nothing that it cannot store"
            assert (await serving.get(f"/v1/reports/{week}")).json()["revision"] == 2, "reports are served"
            await runbook.run("topics", variables)
            await until(partial(is_ready, serving), "the publisher ready")

            async def all_halted() -> bool:
                return (await halted(connection)).keys() == lost

            await until(all_halted, "every partition that was read halted")
            reasons = (await halted(connection)).values()
            assert all(one.startswith("PositionLost: the log ends at offset 0") for one in reasons)
            status = await commands.ddor(chosen, "status")
            assert status.exit_code == 1
            assert status.output.count("PositionLost") == len(lost)

            async def alert_is_on() -> bool:
                return f"ddor_aggregator_unread_partitions {len(lost)}.0" in (await counting.get("/metrics")).text

            await until(alert_is_on, "the metric to count the unread partitions")
            leads = await commands.ddor(chosen, "recover", "--by", "Ada", "--announce")
            assert (leads.exit_code, "stop all publishers" in leads.output) == (2, True), leads.output
        printed = await runbook.run("resume-lost", variables, programs)
        assert printed.count("resumed at offset 0") == len(lost)
        assert await _announced(bootstrap) == []
        assert "3 announcements" in await runbook.run("announce", variables)
        for one in (resent, fresh):
            assert await _accepts(receiving, one)
        await kafka_log.counted(connection, bootstrap)
        assert not await halted(connection)
        async with running(publisher.create(chosen, clock, skew=ANY_SKEW)) as serving:
            await until(partial(is_ready, serving), "the publisher ready")

            async def are_announced() -> bool:
                return await _announced(bootstrap) == messages

            await until(are_announced, "the same announcements in the same order")
            assert dict(await _announced(bootstrap, REPORT_LATEST)) == latest
    assert await database_outcome.outcome(connection) == model.outcome(accepted([*log, fresh]))
    assert await _reports(connection) == reports
    assert "nothing to send" in await runbook.run("announce", variables)
    done = await commands.ddor(chosen, "verify", f"{week}@2")
    assert done.exit_code == 2, done.output
    for words in ("one announcement, with the same content", "the log was replaced", "LogTooShort"):
        assert words in done.output
    assert "are accounted for" in await runbook.run("audit", variables)
    async with living(chosen, week) as life:
        await _continues(life, third)
    done = await commands.ddor(chosen, "verify", str(third))
    assert done.exit_code == 0, f"a week whose facts are all on the new log can be verified: {done.output}"


async def _continues(life: Life, third: ReportingWeek) -> None:
    await life.close(third)
    await life.send()
    assert (await life.report(third))["totals"] == {"issued": 1, "declined": 1}
    assert await prove_chain(life.connection) == 4
    values = [
        json.loads(value or b"")["data"]["week_start"] for _, value in await _announced(life.settings.kafka_bootstrap)
    ]
    assert values[-1] == str(third)
