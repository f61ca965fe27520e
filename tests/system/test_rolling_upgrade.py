"""An upgrade and a downgrade without a pause: the services of two releases side by side, under load.

Skipped by name without the history of Git, or without the packages of the former release.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from deploy.local.errors import PartFailedError
from deploy.local.external import ExternalKafka, ExternalPostgres
from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from tests.chaos.story import WEEKS
from tests.chaos.verifying import verify
from tests.former import releases
from tests.former.load import Load, load
from tests.former.releases import SCHEMAS, Release
from tests.support import kafka_log
from tests.support.life import prove_chain
from tests.support.positions import Connection
from tests.support.schema_versions import NEWEST
from tests.support.stacks import looking
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("is not used to replace services under load")

FORMER: Final = {
    7: "its publisher does not write figures as rows; the present packages include its packages",
    4: "the last commit with other acceptance rules, and with packages of its own",
}
"""The releases to upgrade from, by schema, with the reason."""
_LATER = ("2017-02-25", "2017-03-04", "2017-03-11")
_SETTINGS = {"DDOR_KAFKA_REPLICATION": "1", "DDOR_HOLD": "0"}


@pytest.fixture(params=FORMER, ids=lambda schema: f"from schema {schema}")
def former(request: pytest.FixtureRequest, tmp_path: Path) -> Release:
    commit = SCHEMAS[request.param]
    if not releases.is_known(commit):
        pytest.skip(f"this clone does not have commit {commit}: fetch the whole history")
    code = releases.source(commit, tmp_path / "former")
    python = releases.python_of(code)
    if python is None:
        pytest.skip(f"the packages of commit {commit} are missing: python -m tests.former.record --install")
    return Release(code, python)


@pytest.fixture
def stacks(former: Release, tmp_path: Path, own_kafka: KafkaPart, empty_database: str) -> Iterator[tuple[Stack, Stack]]:
    """The former release and this one on the same servers, with the same ports and keys. Neither runs."""
    kafka_log.recreate_topics(own_kafka)
    servers = ExternalKafka(own_kafka.bootstrap), ExternalPostgres(empty_database)
    old = Stack(tmp_path / "state", *servers, first_week="2099-01-03", settings=_SETTINGS, command=former.command)
    new = Stack(tmp_path / "state", *servers, first_week="2099-01-03", settings=_SETTINGS)
    try:
        yield old, new
    finally:
        for service in {**old.services, **new.services}.values():
            service.kill()


@pytest.mark.long("two releases side by side; test_former_data.py shows the migration of the data of each release")
async def test_an_upgrade_and_a_downgrade_under_load_lose_nothing(
    stacks: tuple[Stack, Stack], own_kafka: KafkaPart, empty_database: str
) -> None:
    old, new = stacks
    await asyncio.to_thread(old.up)
    async with looking(empty_database) as connection:
        async with load(old, seed=1) as running:
            await running.more()
            await _close(old, WEEKS[0])

            await asyncio.to_thread(new.prepare)  # migrates, with the old services running
            await running.more()
            await _close(old, WEEKS[1])

            second = new.another("aggregator", "aggregator-2")
            await asyncio.to_thread(second.start)
            await running.more()
            await asyncio.to_thread(old.run, "close", WEEKS[2], "--wait", "0")
            await _replace(old, new, "ingest", running)
            await _replace(old, new, "aggregator", running)
            await _replace(old, new, "publisher", running)
            await _published(connection, WEEKS[2])
            await _close(new, WEEKS[3])

            with pytest.raises(PartFailedError, match=f"the database has migration {NEWEST:04}"):
                await asyncio.to_thread(old.run, "migrate")
            await asyncio.to_thread(second.stop)
            for name in ("ingest", "aggregator", "publisher"):
                await _replace(new, old, name, running)
            await _close(old, _LATER[0])
            for name in ("publisher", "aggregator", "ingest"):
                await _replace(old, new, name, running)
            await _close(new, _LATER[1])

        await kafka_log.counted(connection, own_kafka.bootstrap)
        await _close(new, _LATER[2])  # restates the other weeks with late events
        await _settled(connection)
        verdict = await verify(connection, own_kafka.bootstrap, running.acknowledged)
        assert (verdict.violations, verdict.lost, verdict.doubled) == ([], 0, 0)
        assert running.unexpected() == {}
        assert await prove_chain(connection) == verdict.reports >= len((*WEEKS, *_LATER))
        await _figures_are_rows(connection)


async def _close(stack: Stack, week: str) -> None:
    assert "issued" in await asyncio.to_thread(stack.run, "close", week)


async def _replace(before: Stack, after: Stack, name: str, running: Load) -> None:
    """Stop a service, start that of the other release on the same port, and wait for events that it took part in."""
    assert await asyncio.to_thread(before.services[name].stop), f"SIGTERM ended {name}"
    await asyncio.to_thread(after.services[name].start)
    await running.more()


async def _published(connection: Connection, week: str) -> None:
    async def is_sent() -> bool:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM week_close WHERE week = $1::text::date AND state = 'published'", week
            )
        )

    await until(is_sent, f"{week} published")


async def _settled(connection: Connection) -> None:
    async def all_sent() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")

    await until(all_sent, "all messages sent")


async def _figures_are_rows(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Also those of reports that a former publisher wrote on the new schema."""
    rows = await connection.fetch("SELECT week::text, revision, geoid, issued, declined FROM published_figure")
    documents = [json.loads(row["figures"]) for row in await connection.fetch("SELECT figures FROM report")]
    assert {tuple(row) for row in rows} == {
        (one["week_start"], one["revision"], cell["geoid"], cell["issued"], cell["declined"])
        for one in documents
        for cell in one["jurisdictions"]
    }
