"""Ingest's door without a Kafka, and a client at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.ingest.routes import Door
from tests.unit import sample_door
from tests.unit.sample_door import Producer


@pytest.fixture
def producer() -> Producer:
    """What the door stores with."""
    return Producer()


@pytest.fixture
def door(tmp_path: Path, producer: Producer) -> Door:
    """A door for the agencies of `tests.support.agencies`."""
    return sample_door.door(tmp_path, producer)


@pytest.fixture
async def client(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    """A client at the door, with the key of an agency."""
    async with sample_door.connected(door) as client:
        yield client
