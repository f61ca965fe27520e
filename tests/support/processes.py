"""The services as separate processes, over real HTTP."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.local.ports import free_port
from deploy.local.probes import http_ready, wait_until
from deploy.local.service import Service
from tests.support.agencies import LAS_VEGAS, key_of

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
DRAIN_SECONDS = 30.0
"""The stop timeout of docker-compose.yml, which also applies while Kafka or PostgreSQL is away."""


def accept_interrupts() -> None:
    """For `preexec_fn`: a child of tests that run in the background would inherit that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def service(role: str, state: Path, variables: Mapping[str, str], name: str | None = None) -> Service:
    """One service, not started, on a free port."""
    port = free_port()
    listening = {"DDOR_HOST": "127.0.0.1", f"DDOR_{role.upper()}_PORT": str(port), "DDOR_LOG_FORMAT": "json"}
    argv = [sys.executable, "-m", "services.cli.main", role, "serve"]
    env = {**os.environ, **variables, **listening}
    return Service(name or role, argv, env=env, port=port, state=state)


def ingest(bootstrap: str, agencies: Path, state: Path) -> Service:
    """Ingest on this Kafka for the agencies of this file, not started."""
    return service("ingest", state, {"DDOR_KAFKA_BOOTSTRAP": bootstrap, "DDOR_AGENCIES_FILE": str(agencies)})


@contextmanager
def started(one: Service) -> Iterator[Service]:
    """The service, ready; SIGTERM must end it."""
    one.start()
    try:
        yield one
    finally:
        assert one.stop(), "SIGTERM ended it"


def start_unready(one: Service) -> None:
    """Start a service and wait until it responds, ready or not."""
    one.spawn()
    wait_until(lambda: http_ready(one.port, "/livez"), seconds=60, what=one.name, alive=one.running)


@asynccontextmanager
async def client(one: Service, agency: str = LAS_VEGAS) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an agency's key."""
    headers = {"Authorization": f"Bearer {key_of(agency)}"}
    async with httpx.AsyncClient(base_url=one.url, headers=headers, timeout=60, trust_env=False) as http:
        yield http


async def post(http: httpx.AsyncClient, body: Any, content_type: str = SINGLE, **headers: str) -> httpx.Response:
    """POST events."""
    return await http.post("/v1/events", content=body, headers={"Content-Type": content_type, **headers})


def batch(values: list[bytes]) -> bytes:
    """A batch of events, unchanged."""
    return b"[" + b",".join(values) + b"]"
