"""A verification that PostgreSQL ends in the middle says so."""

from __future__ import annotations

import asyncpg
import pytest

from deploy.local.parts import KafkaPart
from services.cli import verifying
from services.publisher.snapshot import Snapshots
from tests.conftest import MakeSettings
from tests.support.life import both, living
from tests.support.publishing import new_week
from tests.support.waiting import until

ENDED = {"57P01", "08003"}
"""An administrator has ended the session, or its connection was closed in the middle of an operation: the first error,
whichever of them comes. What follows, that the connection is closed, is no PostgresError."""


async def test_it_has_all_the_time_that_it_needs_and_tells_what_has_ended_it(
    store_settings: MakeSettings, own_kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it proves and reads, in one transaction, which it then cannot roll back, as it cannot drop its schema."""
    week = new_week()
    settings = store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first)
    seen: list[str] = []

    async def ended(snapshots: Snapshots, _week: object) -> None:
        settings = "SELECT current_setting('transaction_timeout'), current_setting('transaction_isolation')"
        seen.extend(await snapshots._connection.fetchrow(settings) or ())
        await snapshots._connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async with living(settings, week) as life:
        await life.tell(*both(range(3), week))
        await life.close(week)
        await life.send()
        # Kafka answers a commit before its marker is written.
        await until(life.announced, "the report to be read from the topic")
        monkeypatch.setattr("services.cli.verifying.settings.load", lambda: settings)
        assert await verifying._verify(str(week)) == 0
        monkeypatch.setattr(Snapshots, "prove", ended)
        with pytest.raises(asyncpg.PostgresError) as raised:
            await verifying._verify(str(week))
    assert raised.value.sqlstate in ENDED
    assert seen == ["0", "repeatable read"]
