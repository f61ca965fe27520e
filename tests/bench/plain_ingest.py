"""A plain service for comparison: FastAPI parses the event, then awaits `broker.publish`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from faststream.kafka import KafkaBroker

from tests.bench.plain_model import PlainEvent

broker = KafkaBroker(os.environ["DDOR_KAFKA_BOOTSTRAP"], acks="all", enable_idempotence=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Connect while the service runs."""
    async with broker:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/events", status_code=202)
async def post_event(event: PlainEvent) -> dict[str, str]:
    """Validate, publish, respond."""
    await broker.publish(event, topic="detainer-issued", key=event.subject.encode())
    return {"status": "accepted"}


@app.get("/readyz")
async def readyz() -> str:
    """Ready as soon as it responds."""
    return "ready"
