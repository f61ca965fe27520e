"""The database is lost: docs/backup-and-restore.md restores it to a point in time, and every report to its bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.local import postgres_install
from deploy.local.databases import ensure_database
from deploy.local.errors import PartUnavailableError
from deploy.local.parts import KafkaPart
from deploy.local.postgres_install import Install
from deploy.local.postgres_native import NativePostgres
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.publisher import recovery
from services.runtime.settings import Settings
from tests.support import commands, database_outcome, kafka_log, model, runbook
from tests.support.batches import accepted
from tests.support.in_process import running
from tests.support.kafka_log import Message
from tests.support.life import both, detainer, living, prove_chain
from tests.support.local_parts import migrated, started
from tests.support.positions import Connection, next_offsets
from tests.support.publishing import client, new_week
from tests.support.waiting import until
from tests.unit.sample_site import tree

WITH_DOCUMENT = "recovered with its document"


class Server:
    """A PostgreSQL of the wheel, and directories that its user can write to."""

    def __init__(self, part: NativePostgres, install: Install) -> None:
        self.part = part
        self.install = install
        self.data = part._data()
        self.archive, self.backup = self.data.parent / "archive", self.data.parent / "backup"
        for directory in (self.archive, self.backup):
            directory.mkdir()
            if install.account:
                os.chown(directory, install.account.uid, install.account.gid)

    def lose(self) -> None:
        """Kill it, and delete its data."""
        self.part.kill()
        shutil.rmtree(self.data)

    async def archived(self, connection: Connection) -> None:
        """Wait until all changes so far are in the archive."""
        await connection.fetchval("SELECT pg_create_restore_point('archived')")  # an empty segment is not switched
        name: str = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")

        async def is_there() -> bool:
            return (self.archive / name).exists()

        await until(is_there, f"{name} in the archive")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    try:
        install = postgres_install.find_install()
    except PartUnavailableError as error:
        pytest.skip(f"there is no pg_basebackup of PostgreSQL 18 here: {error}")
    with started(NativePostgres(tmp_path / "postgres")) as part:
        yield Server(part, install)


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def chosen(server: Server, own_kafka: KafkaPart, agencies_file: Path, week: ReportingWeek) -> Settings:
    kafka_log.recreate_topics(own_kafka)
    dsn = await migrated(ensure_database(server.part.dsn, "ddor"))
    return Settings(
        postgres_dsn=SecretStr(dsn),
        kafka_bootstrap=own_kafka.bootstrap,
        kafka_replication=1,
        agencies_file=agencies_file,
        first_week=week.first,
        worker="one",
    )


async def test_a_database_restored_to_a_point_in_time_gives_the_same_counts_and_the_same_reports(
    server: Server, chosen: Settings, week: ReportingWeek, tmp_path: Path
) -> None:
    site, again = tmp_path / "site", tmp_path / "again"
    second, third = chosen.calendar.next(week), chosen.calendar.next(chosen.calendar.next(week))
    variables = commands.environment(chosen) | {
        "PGDATA": str(server.data), "ARCHIVE": str(server.archive), "BACKUP": str(server.backup), "SITE": str(site),
        "OPERATOR": "Ada",
    }  # fmt: skip
    programs, user = server.install.bin, server.install.account
    await runbook.run("archive", variables, programs)
    server.part.stop()
    server.part.start()

    log: list[Message] = both(range(3), week)
    async with living(chosen, week) as life:
        await life.write(*log)
        await runbook.run("base-backup", variables, programs, user)
        await server.archived(life.connection)
        await runbook.run("prune", variables, programs, user)
        await life.close(week)
        await life.send()
        variables["UNTIL"] = str(await life.connection.fetchval("SELECT clock_timestamp()"))
        log.append(detainer("declined", 10, week))
        await life.write(log[-1])
        await life.close(second)
        await life.send()
        assert await life.revisions() == [
            (str(week), 1, "initial"),
            (str(second), 1, "initial"),
            (str(week), 2, "scheduled"),
        ]
        assert (await commands.ddor(chosen, "site", str(site))).exit_code == 0
        await life.connection.execute("UPDATE ledger_entry SET week = week - 7")  # the fault
        await server.archived(life.connection)

    server.lose()
    await runbook.run("restore-database", variables, programs, user)
    server.part.start()
    await runbook.run("restored", variables, programs)
    async with living(chosen, week) as life:
        assert await life.revisions() == [(str(week), 1, "initial")], "later revisions are lost"
        assert await next_offsets(life.connection) != await kafka_log.ends(chosen.kafka_bootstrap)
        with pytest.raises(recovery.RecoveryNeededError, match="2 announcements"):
            await recovery.check(life.connection, client(chosen))
        printed = await runbook.run("recover", variables)
        assert printed.count(WITH_DOCUMENT) == 2, printed
        await recovery.check(life.connection, client(chosen))
        async with running(aggregator.create(chosen)):
            await kafka_log.counted(life.connection, chosen.kafka_bootstrap)
        assert await database_outcome.outcome(life.connection) == model.outcome(accepted(log))
        assert "are accounted for" in await runbook.run("audit", variables)
        printed = await runbook.run("verify-all", variables, programs)
        assert printed.count("offsets give the figures digest") == 3, printed
        assert (await commands.ddor(chosen, "site", str(again))).exit_code == 0
        kept, restored = (
            {name: body for name, body in tree(one).items() if "/revisions/" in name} for one in (site, again)
        )
        assert restored == kept

    async with living(chosen, week) as life:
        log.append(detainer("declined", 11, week))
        await life.write(log[-1])
        await life.close(third)
        await life.send()
        assert [one.revision for one in await life.announced() if one.week == week.first] == [1, 2, 3]
        assert await prove_chain(life.connection) == 5
        assert await database_outcome.outcome(life.connection) == model.outcome(accepted(log))
