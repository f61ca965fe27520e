"""services.ingest.app: readiness matches what the endpoint does, with a fake Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from services.ingest import app
from services.ingest.body.media_types import SINGLE
from services.runtime import metrics
from services.runtime.settings import Settings
from tests.support.agencies import LAS_VEGAS, key_of, write_agencies
from tests.support.in_process import is_ready, running
from tests.support.waiting import until
from tests.unit.sample_endpoint import Producer
from tests.unit.sample_events import encoded, event


class Kafka:
    """A fake broker and producer. Tests control whether it responds and when the producer stops."""

    def __init__(self) -> None:
        self.responds = True
        self.may_end = asyncio.Event()
        self.ending = asyncio.Event()

    async def ping(self, _: float) -> bool:
        return self.responds

    def publisher(self, *_: Any, **__: Any) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class SlowProducer(Producer):
    """Stops slowly, like a producer without Kafka."""

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


async def test_ingest_is_not_ready_as_soon_as_it_cannot_store(client: httpx.AsyncClient, kafka: Kafka) -> None:
    """Even while the producer of the ended session is still stopping."""
    await until(lambda: is_ready(client), "ready")
    assert await post(client) == 202
    kafka.responds = False
    await asyncio.wait_for(kafka.ending.wait(), 20)
    assert await post(client) == 503
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert "Kafka" in response.json()["detail"]
    kafka.responds = True
    kafka.may_end.set()
    await until(lambda: is_ready(client), "ready again")
    assert await post(client) == 202


def test_the_counters_of_alerts_begin_at_zero(tmp_path: Path) -> None:
    """Otherwise Prometheus does not see the first increase."""
    metrics.INGEST_EVENTS.clear()
    agencies = write_agencies(tmp_path / "agencies.toml")
    app.create(Settings(agencies_file=agencies))
    first = {"kind": "issued", "outcome": "accepted", "code": ""}
    assert REGISTRY.get_sample_value("ddor_ingest_events_total", first) == 0
    lost = {"kind": "declined", "outcome": "unavailable", "code": "not-acknowledged"}
    assert REGISTRY.get_sample_value("ddor_ingest_events_total", lost) == 0
