"""Ingest's door without a Kafka, and a client at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import httpx
from starlette.routing import BaseRoute

from services.ingest.intake import PARTITIONS, Accepted
from services.ingest.producing import EventProducer
from services.ingest.rates import Rates
from services.ingest.receipts import Receipt
from services.ingest.routes import Door
from services.runtime import http
from services.runtime.agencies import AgenciesFile
from tests.support.agencies import LAS_VEGAS, key_of, write_agencies
from tests.unit.sample_reports import CALENDAR

NOW = datetime(2017, 2, 1, tzinfo=UTC)


class Producer:
    """Stores every event at the next offset, but for the lines it is told to lose."""

    def __init__(self) -> None:
        self.stored: list[Accepted] = []
        self.lost: set[int] = set()

    def partitions(self) -> Mapping[str, int]:
        """As the topics are made."""
        return PARTITIONS

    async def store(self, judged: Sequence[Accepted | Receipt]) -> list[Receipt]:
        """Receipts as the real one gives them."""
        self.stored += [one for one in judged if isinstance(one, Accepted)]
        return [one if isinstance(one, Receipt) else self._receipt(one) for one in judged]

    def _receipt(self, one: Accepted) -> Receipt:
        return one.unavailable() if one.line in self.lost else one.stored(100 + one.line)


def door(directory: Path, producer: Producer) -> Door:
    """A door for the agencies of `tests.support.agencies`."""
    file = write_agencies(directory / "agencies.toml")
    made = Door(AgenciesFile(file, lambda: 0.0), lambda: NOW, Rates(), CALENDAR)
    made.producer = cast("EventProducer", producer)
    return made


@asynccontextmanager
async def connected(made: Door, more: Sequence[BaseRoute] = ()) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key of an agency; `more` are routes to serve beside the door's own."""

    async def ready() -> str | None:
        return None

    app = http.application([*made.routes, *more], ready, cast("http.Lifespan", None), made.stopping)
    headers = {"Authorization": f"Bearer {key_of(LAS_VEGAS)}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest", headers=headers) as client:
        yield client
