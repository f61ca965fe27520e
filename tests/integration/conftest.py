"""An ingest process with a client, and stores of aggregators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from services.aggregator.store import Store
from services.runtime import postgres
from tests.conftest import MakeSettings
from tests.support import processes
from tests.support.agencies import write_agencies

OpenStore: TypeAlias = Callable[[str], Awaitable[Store]]


@pytest.fixture(scope="module")
def ingest(kafka: KafkaPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A ready ingest for the tests of a module, on the shared Kafka, with the agencies of `tests.support.agencies`."""
    state = tmp_path_factory.mktemp("ingest")
    one = processes.ingest(kafka.bootstrap, write_agencies(state / "agencies.toml"), state)
    with processes.started(one):
        yield one


@pytest.fixture
def own_ingest(own_kafka: KafkaPart, agencies_file: Path, tmp_path: Path) -> Iterator[Service]:
    """An ingest for one test, not started, on a Kafka that the test may stop. Kafka runs before and after each test."""
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


@pytest.fixture
async def open_store(store_settings: MakeSettings) -> AsyncIterator[OpenStore]:
    """`await open_store("one")`: the store of a worker of that name."""
    async with AsyncExitStack() as stack:

        async def open_one(worker: str) -> Store:
            connection = await postgres.connect(store_settings(), "ddor-test-writer")
            stack.callback(connection.terminate)
            store = Store(connection, worker)
            await store.prepare()
            return store

        yield open_one
