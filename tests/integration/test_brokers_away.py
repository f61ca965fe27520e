"""Three brokers, every partition on each of them, and one or two of them away: waits, says so, and counts exactly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.local import kafka_jars
from deploy.local.service import Service
from tests.conftest import MakeSettings
from tests.support import kafka_log, processes
from tests.support.clusters import BROKERS, Cluster
from tests.support.positions import Connection, owners
from tests.support.streaming import streaming
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("is one broker, and no copy of it can lead")


@pytest.fixture(scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    built = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        await asyncio.to_thread(built.start)
        await built.make_topics()
        yield built
    finally:
        built.destroy()


@pytest.fixture
async def cluster(started: Cluster) -> Cluster:
    """All brokers run and are in sync, whatever the test before did."""
    await asyncio.to_thread(started.start)
    await started.in_sync()
    return started


@pytest.fixture
async def aggregator(
    cluster: Cluster, store_settings: MakeSettings, connection: Connection, tmp_path: Path
) -> AsyncIterator[Service]:
    """Ready, from the ends of the log on."""
    await kafka_log.begin_at_the_ends(connection, cluster.bootstrap)
    variables = {
        "DDOR_KAFKA_BOOTSTRAP": cluster.bootstrap,
        "DDOR_POSTGRES_DSN": store_settings().postgres_dsn.get_secret_value(),
        "DDOR_WORKER": "one",
    }
    service = processes.service("aggregator", tmp_path, variables)
    try:
        await asyncio.to_thread(service.start)
        yield service
    finally:
        service.kill()


async def test_a_broker_that_leads_is_killed_and_counting_goes_on(
    aggregator: Service, cluster: Cluster, connection: Connection
) -> None:
    async with streaming(connection, cluster.bootstrap) as stream:
        await stream.more(connection)
        for node in BROKERS[:2]:
            assert node in (await cluster.leads()).values()
            await cluster.away([node])
            await stream.more(connection)
            await asyncio.to_thread(aggregator.wait_ready)
            await asyncio.to_thread(cluster.start)
            await cluster.in_sync()
        await stream.more(connection)
    await stream.check(connection)
