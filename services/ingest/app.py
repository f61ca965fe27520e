"""Composition root of ingest. No connection is made before the server starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from faststream.kafka import KafkaBroker
from starlette.applications import Starlette

from schemas.attestation import WeekAttested
from schemas.detainer import DetainerDeclined, DetainerIssued
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED, EVENT_TOPICS, WEEK_ATTESTED
from services.ingest.docs.openapi import document
from services.ingest.endpoint import EventsEndpoint
from services.ingest.kafka.producer import EventProducer
from services.ingest.limits import RateLimiter
from services.runtime import error_messages, http, kafka, metrics, openapi
from services.runtime.agencies import AgenciesFile
from services.runtime.clock import Clock, system
from services.runtime.errors import AwayError, ConfigurationError
from services.runtime.settings import Settings
from services.runtime.supervise import Supervisor

_PING_EVERY = 0.5
_PING_TIMEOUT = 2.0
"""Interval plus timeout is below three seconds: the longest time until requests are refused after Kafka is lost."""


class BrokerAwayError(AwayError):
    """Kafka does not respond."""

    def __init__(self) -> None:
        super().__init__(error_messages.BROKERS_AWAY)


def declare(broker: KafkaBroker) -> None:
    """Declare the publishers of this service, for AsyncAPI."""
    broker.publisher(DETAINER_ISSUED, schema=DetainerIssued, title="detainers issued")
    broker.publisher(DETAINER_DECLINED, schema=DetainerDeclined, title="detainers declined")
    broker.publisher(WEEK_ATTESTED, schema=WeekAttested, title="weeks attested")


def _start_counters() -> None:
    """Start the counters of alerts at 0: Prometheus sees no increase in the first value of a series."""
    for topic in EVENT_TOPICS:
        kind = topic.name.rpartition("-")[2]
        metrics.INGEST_EVENTS.labels(kind, "accepted", "")
        metrics.INGEST_EVENTS.labels(kind, "unavailable", "not-acknowledged")
    metrics.INGEST_EVENTS.labels("unknown", "unavailable", "kafka-unavailable")


def create(settings: Settings, clock: Clock = system) -> Starlette:
    """Create the ASGI application. It also starts without Kafka, and responds with 503 until it is connected.

    Raises ConfigurationError if the agencies file is invalid at the start. After an invalid edit later, the last valid
    version remains in use.
    """
    agencies = AgenciesFile(settings.agencies_file, time.monotonic)
    if agencies.current() is None:
        raise ConfigurationError(agencies.problem)
    _start_counters()
    endpoint = EventsEndpoint(agencies, clock, RateLimiter(), settings.calendar)
    broker = kafka.broker(settings, "ddor-ingest")
    declare(broker)

    async def session(up: Callable[[], None]) -> None:
        producer = EventProducer(kafka.client(settings, "ddor-ingest-events"))
        try:
            await producer.start()
            await kafka.start(broker.start)
            while await broker.ping(_PING_TIMEOUT):
                if producer.denied is not None:
                    raise producer.denied
                endpoint.producer = producer
                up()
                await asyncio.sleep(_PING_EVERY)
            raise BrokerAwayError
        finally:
            endpoint.producer = None
            await producer.stop()

    supervisor = Supervisor("Kafka", session)

    async def ready() -> str | None:
        agencies.current()
        if endpoint.producer is None:  # while the session is ending, the supervisor does not report it yet
            return supervisor.waiting_for or f"Kafka: {error_messages.summary(BrokerAwayError())}"
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

    routes = [*endpoint.routes, *openapi.routes(document())]
    apart = settings.metrics_port is not None
    return http.application(routes, ready, lifespan, endpoint.stopping, health_apart=apart)
