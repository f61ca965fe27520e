"""Ingest's door without a Kafka, and a client at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
from starlette.routing import BaseRoute

from services.ingest.intake import PARTITIONS, Accepted, Judged, Rejected
from services.ingest.producing import EventProducer
from services.ingest.rates import Rates
from services.ingest.receipts import Receipt
from services.ingest.routes import Door
from services.runtime import http
from services.runtime.agencies import AgenciesFile
from tests.support.agencies import LAS_VEGAS, key_of, write_agencies
from tests.support.waiting import until
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

    async def store(self, judged: Sequence[Judged]) -> list[Receipt]:
        """Receipts as the real one gives them."""
        self.stored += [one for one in judged if isinstance(one, Accepted)]
        return [one.receipt if isinstance(one, Rejected) else self._receipt(one) for one in judged]

    def _receipt(self, one: Accepted) -> Receipt:
        return one.unavailable() if one.line in self.lost else one.stored(100 + one.line)


class Time:
    """Clocks that stand still until a test moves them. What they are asked for is `now`, or the seconds since."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """The wall clock."""
        return self.now

    def monotonic(self) -> float:
        """Seconds."""
        return (self.now - NOW).total_seconds()


def door(directory: Path, producer: Producer, time: Time | None = None) -> Door:
    """A door for the agencies of `tests.support.agencies`."""
    time = time or Time()
    file = write_agencies(directory / "agencies.toml")
    made = Door(AgenciesFile(file, time.monotonic), time, Rates(time.monotonic), CALENDAR)
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


class Exchange:
    """One request at the door, message by message, as a server would hand them over."""

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
        """Keep what is answered (ASGI)."""
        self.sent.append(message)

    def put(self, body: bytes) -> None:
        """A piece of the body comes."""
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": True})

    def end(self) -> None:
        """The body ends."""
        self.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def start(self, door: Door) -> asyncio.Task[None]:
        """Have it answered."""
        return asyncio.create_task(door(self.scope, self.incoming.get, self.send))

    async def answered(self, lines: int) -> None:
        """Wait until so many lines are answered."""

        async def so() -> bool:
            return len(self.lines) >= lines

        await until(so, f"{lines} lines answered", 20)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What has been answered of a stream."""
        return [json.loads(line) for line in b"".join(one["body"] for one in self.sent[1:]).splitlines()]
