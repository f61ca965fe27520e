"""The events endpoint with a fake producer, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.ingest.endpoint import EventsEndpoint
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import Producer


@pytest.fixture
def producer() -> Producer:
    """The fake producer of the endpoint."""
    return Producer()


@pytest.fixture
def endpoint(tmp_path: Path, producer: Producer) -> EventsEndpoint:
    """An endpoint for the agencies of `tests.support.agencies`."""
    return sample_endpoint.endpoint(tmp_path, producer)


@pytest.fixture
async def client(endpoint: EventsEndpoint) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key of an agency."""
    async with sample_endpoint.connected(endpoint) as client:
        yield client
