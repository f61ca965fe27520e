"""services.ingest.app: what it says of itself is what it does, with fakes for Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.ingest import app
from services.ingest.framing import SINGLE
from services.runtime.settings import Settings
from tests.support.agencies import LAS_VEGAS, key_of, write_agencies
from tests.support.in_process import is_ready, running
from tests.support.waiting import until
from tests.unit.sample_door import Producer
from tests.unit.sample_events import encoded, event


class Kafka:
    """The broker and the producer of one ingest: answers until it is told not to, and lets a producer's end wait."""

    def __init__(self) -> None:
        self.answers = True
        self.may_end = asyncio.Event()
        self.ending = asyncio.Event()

    async def ping(self, _: float) -> bool:
        return self.answers

    def publisher(self, *_: Any, **__: Any) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class SlowProducer(Producer):
    """Takes its time to end, as one whose Kafka is away does."""

    def __init__(self, kafka: Kafka) -> None:
        super().__init__()
        self._kafka = kafka

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self._kafka.ending.set()
        await self._kafka.may_end.wait()


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    one = Kafka()
    monkeypatch.setattr("services.ingest.app.kafka.broker", lambda *_: one)
    monkeypatch.setattr(app, "EventProducer", lambda _: SlowProducer(one))
    return one


@pytest.fixture
async def client(kafka: Kafka, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    file = write_agencies(tmp_path / "agencies.toml")
    async with running(app.create(Settings(agencies_file=file))) as one:
        yield one
        kafka.may_end.set()


async def post(client: httpx.AsyncClient) -> int:
    headers = {"Authorization": f"Bearer {key_of(LAS_VEGAS)}", "Content-Type": SINGLE}
    return (await client.post("/v1/events", content=encoded(event()), headers=headers)).status_code


async def test_it_is_not_ready_from_the_moment_on_in_which_it_stores_nothing(
    client: httpx.AsyncClient, kafka: Kafka
) -> None:
    """Also while the producer of the session that has ended still waits for Kafka to say good-bye."""
    await until(lambda: is_ready(client), "ready")
    assert await post(client) == 202
    kafka.answers = False
    await asyncio.wait_for(kafka.ending.wait(), 20)
    assert await post(client) == 503
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "Kafka" in answer.json()["detail"]
    kafka.answers = True
    kafka.may_end.set()
    await until(lambda: is_ready(client), "ready again")
    assert await post(client) == 202
