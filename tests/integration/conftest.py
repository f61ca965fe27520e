"""Ingest as a process of its own, and a client of it, for the tests that send events over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from tests.support import processes
from tests.support.agencies import write_agencies


@pytest.fixture(scope="module")
def ingest(kafka: KafkaPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An ingest for a module's tests, ready, on the run's Kafka, for the agencies of `tests.support.agencies`."""
    state = tmp_path_factory.mktemp("ingest")
    one = processes.ingest(kafka.bootstrap, write_agencies(state / "agencies.toml"), state)
    with processes.started(one):
        yield one


@pytest.fixture
def own_ingest(own_kafka: KafkaPart, agencies_file: Path, tmp_path: Path) -> Iterator[Service]:
    """An ingest for one test, not started, on a Kafka that it may stop. Kafka runs before and after each test."""
    one = processes.ingest(own_kafka.bootstrap, agencies_file, tmp_path)
    try:
        yield one
    finally:
        own_kafka.resume()
        one.stop(processes.DRAIN_SECONDS)
        own_kafka.start()


@pytest.fixture
async def http(ingest: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the module's `ingest`, with an agency's key."""
    async with processes.client(ingest) as client:
        yield client
