"""Three brokers, every partition on each of them, and one or two of them away: waits, says so, and counts exactly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

import httpx
import pytest

from deploy.local.service import Service
from tests.conftest import MakeSettings
from tests.support import clusters, kafka_log, processes
from tests.support.agencies import write_agencies
from tests.support.clusters import BROKERS, Cluster
from tests.support.positions import Connection, next_offsets, owners
from tests.support.streaming import streaming
from tests.support.streams import Place, log_since, place, value
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("is one broker, and no copy of it can lead")


@pytest.fixture(scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with clusters.started(tmp_path_factory.mktemp("cluster")) as built:
        yield built


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


async def test_a_leader_that_wakes_up_when_another_leads_halts_nothing(
    aggregator: Service, cluster: Cluster, connection: Connection
) -> None:
    """For a moment it believes that it leads, and that its log, which is behind, is all that there is."""
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


async def test_without_leaders_the_aggregator_waits_and_says_so(
    aggregator: Service, cluster: Cluster, connection: Connection
) -> None:
    """The one broker that is there is not in sync: it was away while the others took more."""
    behind, *others = BROKERS
    async with streaming(connection, cluster.bootstrap) as stream:
        await stream.more(connection)
        await cluster.away([behind])
        await stream.more(connection)
        await cluster.away(others)
        await asyncio.to_thread(cluster.brokers[behind].start)
        await until(partial(_nobody_leads, cluster), "no partition has a leader")
        async with processes.client(aggregator) as http:
            waiting = partial(_waits, http)
            await until(waiting, "/readyz says what it waits for")
            before, attempts = await next_offsets(connection), _attempts(aggregator)

            async def tried_again() -> bool:
                assert await waiting(), "at no time is it ready"
                assert set((await owners(connection)).values()) == {None}, "and it takes no lease"
                return _attempts(aggregator) >= attempts + 2

            await until(tried_again, "two more attempts")
        assert await next_offsets(connection) == before
        assert aggregator.running(), "it waits; it does not end"
        await asyncio.to_thread(cluster.start)
        await cluster.in_sync()
        await asyncio.to_thread(aggregator.wait_ready)
        await stream.more(connection)
    await stream.check(connection)


async def test_with_one_broker_in_sync_ingest_accepts_nothing_and_keeps_what_it_accepted(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A receipt that says `accepted` is of an event that two brokers have: one of them may be lost."""
    variables = {
        "DDOR_KAFKA_BOOTSTRAP": cluster.bootstrap,
        "DDOR_AGENCIES_FILE": str(write_agencies(tmp_path / "agencies.toml")),
    }
    ingest = processes.service("ingest", tmp_path, variables)
    accepted: dict[Place, bytes] = {}
    begin = await kafka_log.ends(cluster.bootstrap)
    try:
        await asyncio.to_thread(ingest.start)
        async with processes.client(ingest) as http:
            assert await _send(http, range(50), accepted) == {"accepted"}
            await cluster.away([3])
            await until(partial(_all_accepted, http, range(50, 100), accepted), "two in sync are enough")
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
    assert accepted.items() <= {place: record.value for place, record in log.items()}.items()


async def _send(http: httpx.AsyncClient, numbers: Iterable[int], accepted: dict[Place, bytes]) -> set[str]:
    """Send a batch and note what was accepted; what became of its events."""
    values = [value(number) for number in numbers]
    answer = await processes.post(http, processes.batch(values), processes.BATCH)
    receipts = answer.json()["receipts"]
    accepted |= {place(one): values[one["line"] - 1] for one in receipts if one["status"] == "accepted"}
    return {one["status"] for one in receipts}


async def _all_accepted(http: httpx.AsyncClient, numbers: Iterable[int], accepted: dict[Place, bytes]) -> bool:
    return await _send(http, numbers, accepted) == {"accepted"}


async def _nobody_leads(cluster: Cluster) -> bool:
    """The controller sees that a broker is gone only when it has not heard of it for a while."""
    return set((await cluster.leads()).values()) == {-1}


async def _waits(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/readyz")
    return answer.status_code == 503 and answer.json()["detail"].startswith("leases and positions: Kafka")


def _attempts(service: Service) -> int:
    return service.process.log.read_text().count("session-ended")
