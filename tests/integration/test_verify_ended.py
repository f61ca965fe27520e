"""A verification reports that its PostgreSQL session was terminated."""

from __future__ import annotations

import asyncpg
import pytest

from deploy.local.parts import KafkaPart
from services.cli import verify
from services.publisher.snapshot import SnapshotReader
from tests.conftest import MakeSettings
from tests.support.life import both, living
from tests.support.publishing import new_week
from tests.support.waiting import until

ENDED = {"57P01", "08003"}
"""The first error: an administrator ended the session, or the connection was closed during an operation. The errors
after it, about the closed connection, are no PostgresError."""


async def test_it_has_no_time_limit_and_reports_what_ended_it(
    store_settings: MakeSettings, own_kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session ends in a transaction, so neither the rollback nor dropping the schema can succeed."""
    week = new_week()
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first)
    seen: list[str] = []

    async def ended(snapshots: SnapshotReader, _week: object) -> None:
        settings = "SELECT current_setting('transaction_timeout'), current_setting('transaction_isolation')"
        seen.extend(await snapshots._connection.fetchrow(settings) or ())
        await snapshots._connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async with living(settings, week) as life:
        await life.write(*both(range(3), week))
        await life.close(week)
        await life.send()
        # Kafka responds to a commit before its marker is written.
        await until(life.announced, "the report on the topic")
        monkeypatch.setattr("services.cli.verify.settings.load", lambda: settings)
        assert await verify._verify(str(week)) == 0
        monkeypatch.setattr(SnapshotReader, "prove", ended)
        with pytest.raises(asyncpg.PostgresError) as raised:
            await verify._verify(str(week))
    assert raised.value.sqlstate in ENDED
    assert seen == ["0", "repeatable read"]
