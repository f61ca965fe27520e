"""Ingest's composition root. Nothing connects before the server starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from faststream.kafka import KafkaBroker
from starlette.applications import Starlette

from schemas.attestation import WeekAttested
from schemas.detainer import DetainerDeclined, DetainerIssued
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED, WEEK_ATTESTED
from services.ingest.openapi import document
from services.ingest.producing import EventProducer
from services.ingest.rates import Rates
from services.ingest.routes import Door
from services.runtime import http, kafka, openapi
from services.runtime.agencies import AgenciesFile
from services.runtime.clock import Clock, system
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings
from services.runtime.supervise import Supervisor

_PING_EVERY = 0.5
_PING_TIMEOUT = 2.0
"""Both together are below three seconds: the longest that a request waits to be told that Kafka is gone."""


class BrokerAwayError(OSError):
    """Kafka does not answer."""


def declare(broker: KafkaBroker) -> None:
    """Say what this service publishes, for AsyncAPI."""
    broker.publisher(DETAINER_ISSUED, schema=DetainerIssued, title="detainers issued")
    broker.publisher(DETAINER_DECLINED, schema=DetainerDeclined, title="detainers declined")
    broker.publisher(WEEK_ATTESTED, schema=WeekAttested, title="weeks attested")


def create(settings: Settings, clock: Clock = system) -> Starlette:
    """Ingest as an ASGI application. It starts without Kafka too, and answers 503 until Kafka is there.

    ConfigurationError when the agencies file is not valid at the start; later a bad edit keeps the last valid one.
    """
    agencies = AgenciesFile(settings.agencies_file, time.monotonic)
    if agencies.current() is None:
        raise ConfigurationError(f"{settings.agencies_file}: {agencies.problem}")
    door = Door(agencies, clock, Rates(), settings.calendar)
    broker = kafka.broker(settings, "ddor-ingest")
    declare(broker)

    async def session(up: Callable[[], None]) -> None:
        producer = EventProducer(kafka.client(settings, "ddor-ingest-events"))
        try:
            await producer.start()
            await kafka.start(broker.start)
            while await broker.ping(_PING_TIMEOUT):
                door.producer = producer
                up()
                await asyncio.sleep(_PING_EVERY)
            raise BrokerAwayError("no broker answers")
        finally:
            door.producer = None
            await producer.stop()

    supervisor = Supervisor("Kafka", session)

    async def ready() -> str | None:
        agencies.current()
        if door.producer is None:  # the session may still be ending: the supervisor hears of that seconds later
            return supervisor.waiting_for or "Kafka: no broker answers"
        return agencies.problem

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        task = asyncio.create_task(supervisor.run(), name="kafka")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await broker.stop()

    routes = [*door.routes, *openapi.routes(document())]
    return http.application(routes, ready, lifespan, door.stopping)
