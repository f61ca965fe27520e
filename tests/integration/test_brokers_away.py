"""Three brokers with every partition on each. While one or two are unavailable, services wait and report it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

import httpx
import pytest

from deploy.local.service import Service
from schemas.log import RecordAddress
from tests.conftest import MakeSettings
from tests.support import clusters, kafka_log, processes
from tests.support.agencies import write_agencies
from tests.support.clusters import BROKERS, Cluster
from tests.support.positions import Connection, next_offsets, owners
from tests.support.streaming import streaming
from tests.support.streams import address_of, log_since, value
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("is one broker without replicas")


@pytest.fixture(scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with clusters.started(tmp_path_factory.mktemp("cluster")) as built:
        yield built


@pytest.fixture
async def cluster(started: Cluster) -> Cluster:
    """All brokers run and are in sync, independent of the previous test."""
    await asyncio.to_thread(started.start)
    await started.in_sync()
    return started


@pytest.fixture
async def aggregator(
    cluster: Cluster, store_settings: MakeSettings, connection: Connection, tmp_path: Path
) -> AsyncIterator[Service]:
    """A ready aggregator that reads from the ends of the log."""
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


async def test_counting_continues_after_a_leader_broker_is_killed(
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


@pytest.mark.long("a cluster of three whose leader is stopped")
async def test_a_resumed_stale_leader_halts_no_partition(
    aggregator: Service, cluster: Cluster, connection: Connection
) -> None:
    """For a moment it acts as leader with an outdated log, whose end is below the positions."""
    async with streaming(connection, cluster.bootstrap) as stream:
        for node in BROKERS[1:]:
            await stream.more(connection)
            await cluster.stopped(node)
            await stream.more(connection)
            cluster.brokers[node].resume()
            await cluster.in_sync()
            await stream.more(connection)
    assert await connection.fetchval("SELECT count(*) FROM partition_position WHERE halted_reason IS NOT NULL") == 0
    await stream.check(connection)


@pytest.mark.long("a cluster of three without any leader")
async def test_without_leaders_the_aggregator_waits_and_reports_it(
    aggregator: Service, cluster: Cluster, connection: Connection
) -> None:
    """The only running broker is not in sync: it was stopped while the others accepted more records."""
    stale, *others = BROKERS
    async with streaming(connection, cluster.bootstrap) as stream:
        await stream.more(connection)
        await cluster.away([stale])
        await stream.more(connection)
        await cluster.away(others)
        await asyncio.to_thread(cluster.brokers[stale].start)
        await until(partial(_nobody_leads, cluster), "no partition has a leader")
        async with processes.client(aggregator) as http:
            waiting = partial(_waits, http)
            await until(waiting, "the cause in /readyz")
            before, attempts = await next_offsets(connection), _attempts(aggregator)

            async def tried_again() -> bool:
                assert await waiting(), "never ready"
                assert set((await owners(connection)).values()) == {None}, "no lease acquired"
                return _attempts(aggregator) >= attempts + 2

            await until(tried_again, "two more attempts")
        assert await next_offsets(connection) == before
        assert aggregator.running(), "waits instead of exiting"
        await asyncio.to_thread(cluster.start)
        await cluster.in_sync()
        await asyncio.to_thread(aggregator.wait_ready)
        await stream.more(connection)
    await stream.check(connection)


@pytest.mark.long("a cluster of three with one in sync")
async def test_with_one_broker_in_sync_ingest_accepts_nothing_and_loses_no_accepted_event(
    cluster: Cluster, tmp_path: Path
) -> None:
    """An event with the status `accepted` is on two brokers, so that one of them may be lost."""
    variables = {
        "DDOR_KAFKA_BOOTSTRAP": cluster.bootstrap,
        "DDOR_AGENCIES_FILE": str(write_agencies(tmp_path / "agencies.toml")),
    }
    ingest = processes.service("ingest", tmp_path, variables)
    accepted: dict[RecordAddress, bytes] = {}
    begin = await kafka_log.ends(cluster.bootstrap)
    try:
        await asyncio.to_thread(ingest.start)
        async with processes.client(ingest) as http:
            assert await _send(http, range(50), accepted) == {"accepted"}
            await cluster.away([3])
            await until(partial(_all_accepted, http, range(50, 100), accepted), "accepted with two in sync")
            await cluster.away([2])
            for start in (100, 150):
                assert await _send(http, range(start, start + 50), accepted) == {"unavailable"}
            one = await processes.post(http, value(200))
            assert one.status_code == 503
            assert int(one.headers["retry-after"]) > 0
            await asyncio.to_thread(cluster.start)
            await cluster.in_sync()
            await until(partial(_all_accepted, http, range(100, 200), accepted), "accepted again")
    finally:
        ingest.kill()
    log = await log_since(cluster.bootstrap, begin)
    assert len(accepted) >= 200
    assert accepted.items() <= {address: record.value for address, record in log.items()}.items()


async def _send(http: httpx.AsyncClient, numbers: Iterable[int], accepted: dict[RecordAddress, bytes]) -> set[str]:
    """Send a batch and record the accepted events. Returns the statuses of all its events."""
    values = [value(number) for number in numbers]
    response = await processes.post(http, processes.batch(values), processes.BATCH)
    receipts = response.json()["receipts"]
    accepted |= {address_of(one): values[one["line"] - 1] for one in receipts if one["status"] == "accepted"}
    return {one["status"] for one in receipts}


async def _all_accepted(http: httpx.AsyncClient, numbers: Iterable[int], accepted: dict[RecordAddress, bytes]) -> bool:
    return await _send(http, numbers, accepted) == {"accepted"}


async def _nobody_leads(cluster: Cluster) -> bool:
    """The controller detects a stopped broker only after missing its heartbeats for some time."""
    return set((await cluster.leads()).values()) == {-1}


async def _waits(http: httpx.AsyncClient) -> bool:
    response = await http.get("/readyz")
    return response.status_code == 503 and response.json()["detail"].startswith("leases and positions: Kafka")


def _attempts(service: Service) -> int:
    return service.process.log.read_text().count("session-ended")
