"""Ingest while partitions have no leader and brokers answer: others are served meanwhile, and they are afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.local.service import Service
from tests.support import clusters, kafka_log, processes
from tests.support.agencies import write_agencies
from tests.support.clusters import BROKERS, Cluster
from tests.support.streams import Place, log_since, place, value
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
    """Sends batch after batch, and remembers what was accepted."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._sent = 0
        self.accepted: dict[Place, bytes] = {}

    async def send(self) -> set[Place]:
        """A batch to all partitions; the places where events are now."""
        values = [value(number) for number in range(self._sent, self._sent + _EVENTS)]
        self._sent += _EVENTS
        answer = await processes.post(self._http, processes.batch(values), processes.BATCH)
        receipts = answer.json()["receipts"]
        assert {one["status"] for one in receipts} <= {"accepted", "unavailable"}
        stored = {place(one): values[one["line"] - 1] for one in receipts if one["status"] == "accepted"}
        assert not stored.keys() & self.accepted.keys()
        self.accepted |= stored
        return set(stored)

    async def all_is_stored(self) -> bool:
        """Whether a batch is accepted as a whole."""
        return len(await self.send()) == _EVENTS


async def test_partitions_that_had_no_leader_take_events_again_and_the_others_always_did(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A batch that expires without a leader leaves a gap that no broker forgives to the producer that took it."""
    ingest = processes.ingest(cluster.bootstrap, write_agencies(tmp_path / "agencies.toml"), tmp_path)
    begin = await kafka_log.ends(cluster.bootstrap)
    leads = {one: node for one, node in (await cluster.leads()).items() if one[0] == "detainer-issued"}
    assert _AWAY in leads.values()
    served = {one for one, node in leads.items() if node != _AWAY}
    try:
        await asyncio.to_thread(ingest.start)
        async with processes.client(ingest) as http:
            agency = _Agency(http)
            assert {stored[:2] for stored in await agency.send()} == set(leads), "the producer is known everywhere"
            await cluster.away([_AWAY])
            for _ in range(5):
                assert {stored[:2] for stored in await agency.send()} == served
                assert (await http.get("/readyz")).status_code == 200
            await asyncio.to_thread(cluster.start)
            await cluster.in_sync()
            await until(agency.all_is_stored, "events are stored in every partition", 60)
            for _ in range(3):
                assert await agency.all_is_stored(), "and from then on"
        assert _said(ingest, "session-ended") == 0, "no door was closed for it"
        assert await asyncio.to_thread(ingest.stop, processes.DRAIN_SECONDS), "it ended by itself"
    finally:
        ingest.kill()
    log = await log_since(cluster.bootstrap, begin)
    assert agency.accepted.items() <= {where: record.value for where, record in log.items()}.items()


def _said(service: Service, event: str) -> int:
    return service.process.log.read_text().count(event)
