"""A backup of pg_dump, restored with pg_restore into another database: nothing is lost or published twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.local import postgres_install
from deploy.local.errors import PartUnavailableError
from deploy.local.parts import KafkaPart, PostgresPart
from schemas.week import ReportingWeek
from services.publisher import recovery
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands, database_outcome, events, model, runbook
from tests.support.batches import accepted
from tests.support.life import both, changes, detainer, living, prove_chain
from tests.support.local_parts import new_database
from tests.support.publishing import client, new_week


@pytest.fixture
def tools() -> Path:
    """The directory of pg_dump and pg_restore."""
    try:
        return postgres_install.find_install().bin
    except PartUnavailableError as error:
        pytest.skip(f"there is no pg_dump of PostgreSQL 18 here: {error}")


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
def chosen(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> Settings:
    return store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first, line_list="coarse")


@pytest.fixture
def another(chosen: Settings, postgres: PostgresPart) -> Iterator[Settings]:
    """The same settings on another, empty database."""
    with new_database(postgres) as dsn:
        yield chosen.model_copy(update={"postgres_dsn": SecretStr(dsn)})


async def test_invariant_5_a_restored_backup_continues_from_the_published_revisions(
    chosen: Settings, another: Settings, week: ReportingWeek, tools: Path, tmp_path: Path
) -> None:
    second, third = chosen.calendar.next(week), chosen.calendar.next(chosen.calendar.next(week))
    attested = events.attesting(events.attested(str(week), issued=3, declined=3))
    backup, site = tmp_path / "backup", tmp_path / "site"
    log = [*both(range(3), week), attested]
    async with living(chosen, week) as life:
        await life.write(*log)
        await life.close(week)
        await life.send()
        await runbook.run("dump", commands.environment(chosen) | {"DUMP": str(backup)}, tools)
        log.append(detainer("declined", 10, week))
        await life.write(log[-1])
        await life.close(second)
        await life.send()
        lost = await life.report(week)
        assert lost["revision"] == 2
        kept = site / "v1" / "reports" / str(week) / "revisions" / "2.json"
        kept.parent.mkdir(parents=True)
        kept.write_text(json.dumps(lost))
    await runbook.run("restore-dump", commands.environment(another) | {"DUMP": str(backup)}, tools)
    async with living(another, week) as life:
        assert await life.revisions() == [(str(week), 1, "initial")]
        with pytest.raises(recovery.RecoveryNeededError, match="2 announcements"):
            await recovery.check(life.connection, client(another))
        done = await commands.ddor(another, "recover", "--by", "Ada", "--documents", str(site))
        assert done.exit_code == 0, done.output
        assert f"{week}@2: has a line list, so it is recovered from its announcement" in done.output
        await recovery.check(life.connection, client(another))
        log.append(detainer("declined", 11, week))
        await life.write(log[-1])
        assert await database_outcome.outcome(life.connection) == model.outcome(accepted(log)), (
            "each record of the log counted once"
        )
        await life.close(third)
        await life.send()
        newest = await life.report(week)
        assert (newest["revision"], newest["previous_digest"]) == (3, (await life.report(third))["digest"])
        assert changes(newest) == {("32003", "declined"): (4, 5, {"late": 1})}
        assert newest["line_list"] is None, "a published list may be lost, so no further list is made"
        assert await prove_chain(life.connection) == 5
        assert [one.revision for one in await life.announced() if one.week == week.first] == [1, 2, 3]
        for what, code in ((f"{week}@1", 0), (f"{week}@2", 2), (f"{week}@3", 0)):
            done = await commands.ddor(another, "verify", what)
            assert done.exit_code == code, done.output
