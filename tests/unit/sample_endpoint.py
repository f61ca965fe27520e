"""The events endpoint with a fake producer, and a client of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
from starlette.routing import BaseRoute

from services.ingest.endpoint import EventsEndpoint
from services.ingest.intake import PARTITIONS, Accepted, Judged, Partitions, Rejected
from services.ingest.kafka.producer import EventProducer
from services.ingest.limits import RateLimiter
from services.ingest.receipts import Receipt
from services.runtime import http
from services.runtime.agencies import AgenciesFile
from tests.support.agencies import LAS_VEGAS, key_of, write_agencies
from tests.support.waiting import until
from tests.unit.sample_reports import CALENDAR

NOW = datetime(2017, 2, 1, tzinfo=UTC)


class Producer:
    """Stores every event at the next offset, except the lines in `lost`."""

    def __init__(self) -> None:
        self.stored: list[Accepted] = []
        self.lost: set[int] = set()
        self.denied = None

    def partitions(self) -> Partitions:
        """The initial partitions."""
        return PARTITIONS

    async def store(self, judged: Sequence[Judged]) -> list[Receipt]:
        """Receipts like those of EventProducer."""
        self.stored += [one for one in judged if isinstance(one, Accepted)]
        return [one.receipt if isinstance(one, Rejected) else self._receipt(one) for one in judged]

    def _receipt(self, one: Accepted) -> Receipt:
        return one.unavailable() if one.line in self.lost else one.stored(100 + one.line)


class Time:
    """A wall clock and a monotonic clock that only change when a test sets `now`."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """The wall clock."""
        return self.now

    def monotonic(self) -> float:
        """Seconds."""
        return (self.now - NOW).total_seconds()


def endpoint(directory: Path, producer: Producer, time: Time | None = None) -> EventsEndpoint:
    """An endpoint for the agencies of `tests.support.agencies`."""
    time = time or Time()
    file = write_agencies(directory / "agencies.toml")
    made = EventsEndpoint(AgenciesFile(file, time.monotonic), time, RateLimiter(time.monotonic), CALENDAR)
    made.producer = cast("EventProducer", producer)
    return made


@asynccontextmanager
async def connected(made: EventsEndpoint, more: Sequence[BaseRoute] = ()) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key of an agency; `more` are additional routes."""

    async def ready() -> str | None:
        return None

    app = http.application([*made.routes, *more], ready, cast("http.Lifespan", None), made.stopping)
    headers = {"Authorization": f"Bearer {key_of(LAS_VEGAS)}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest", headers=headers) as client:
        yield client


class Exchange:
    """One request to the endpoint, as ASGI messages."""

    def __init__(self, media_type: str) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "client": None,
            "headers": [
                (b"content-type", media_type.encode()),
                (b"authorization", f"Bearer {key_of(LAS_VEGAS)}".encode()),
            ],
        }
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        """Record a message of the response (ASGI)."""
        self.sent.append(message)

    def put(self, body: bytes) -> None:
        """Send a piece of the body."""
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": True})

    def end(self) -> None:
        """End the body."""
        self.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def start(self, endpoint: EventsEndpoint) -> asyncio.Task[None]:
        """Start the request."""
        return asyncio.create_task(endpoint(self.scope, self.incoming.get, self.send))

    async def wait_for_lines(self, lines: int) -> None:
        """Wait for this number of response lines."""

        async def received() -> bool:
            return len(self.lines) >= lines

        await until(received, f"{lines} response lines", 20)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the response to a stream."""
        return [json.loads(line) for line in b"".join(one["body"] for one in self.sent[1:]).splitlines()]
