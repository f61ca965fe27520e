"""Ingest while some partitions have no leader: others are served meanwhile, and all of them afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.local.service import Service
from schemas.log import RecordAddress
from tests.support import clusters, kafka_log, processes
from tests.support.agencies import write_agencies
from tests.support.clusters import BROKERS, Cluster
from tests.support.streams import address_of, log_since, value
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("is one broker")

_AWAY = BROKERS[-1]
_EVENTS = 200
"""Enough for every partition of a topic."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Each partition on one broker only."""
    async with clusters.started(tmp_path / "cluster", copies=1) as built:
        yield built


class _Agency:
    """Sends batches, and records the accepted events."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._sent = 0
        self.accepted: dict[RecordAddress, bytes] = {}

    async def send(self) -> set[RecordAddress]:
        """Send a batch to all partitions; returns the addresses of the accepted events."""
        values = [value(number) for number in range(self._sent, self._sent + _EVENTS)]
        self._sent += _EVENTS
        response = await processes.post(self._http, processes.batch(values), processes.BATCH)
        receipts = response.json()["receipts"]
        assert {one["status"] for one in receipts} <= {"accepted", "unavailable"}
        stored = {address_of(one): values[one["line"] - 1] for one in receipts if one["status"] == "accepted"}
        assert not stored.keys() & self.accepted.keys()
        self.accepted |= stored
        return set(stored)

    async def all_is_stored(self) -> bool:
        """Whether all events of a batch are accepted."""
        return len(await self.send()) == _EVENTS


@pytest.mark.long("a cluster of three without copies")
async def test_partitions_recover_from_a_missing_leader_without_affecting_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A batch that expires without a leader leaves a gap in the producer's sequence."""
    ingest = processes.ingest(cluster.bootstrap, write_agencies(tmp_path / "agencies.toml"), tmp_path)
    begin = await kafka_log.ends(cluster.bootstrap)
    leads = {one: node for one, node in (await cluster.leads()).items() if one.topic == "detainer-issued"}
    assert _AWAY in leads.values()
    served = {one for one, node in leads.items() if node != _AWAY}
    try:
        await asyncio.to_thread(ingest.start)
        async with processes.client(ingest) as http:
            agency = _Agency(http)
            assert {stored.partition for stored in await agency.send()} == set(leads), "written to every partition"
            await cluster.away([_AWAY])
            for _ in range(5):
                assert {stored.partition for stored in await agency.send()} == served
                assert (await http.get("/readyz")).status_code == 200
            await asyncio.to_thread(cluster.start)
            await cluster.in_sync()
            await until(agency.all_is_stored, "events stored in every partition", 60)
            for _ in range(3):
                assert await agency.all_is_stored(), "all later batches are stored"
        assert _logged(ingest, "session-ended") == 0, "the endpoint stays open"
        assert await asyncio.to_thread(ingest.stop, processes.DRAIN_SECONDS), "exited before the timeout"
    finally:
        ingest.kill()
    log = await log_since(cluster.bootstrap, begin)
    assert agency.accepted.items() <= {where: record.value for where, record in log.items()}.items()


def _logged(service: Service, event: str) -> int:
    return service.process.log.read_text().count(event)
