"""The aggregator's composition root. Nothing connects before the server starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import product

from aiokafka import AIOKafkaConsumer
from faststream.kafka import KafkaBroker
from starlette.applications import Starlette

from schemas.rejected import DetainerRejected
from schemas.topics import DETAINER_REJECTED, EVENT_TOPICS
from services.aggregator import retention, subscriber
from services.aggregator.reader import Consumer
from services.aggregator.spans import Record
from services.aggregator.store import OUTCOMES
from services.aggregator.worker import PARTITIONS, Worker
from services.runtime import http, kafka, metrics, postgres
from services.runtime.clock import Clock, system
from services.runtime.settings import Settings
from services.runtime.supervise import Supervisor


def declare(
    broker: KafkaBroker, handler: Callable[[Sequence[Record]], Awaitable[None]]
) -> Callable[[], AIOKafkaConsumer]:
    """Declare the topics that this service reads and publishes. The AsyncAPI document is generated from this too.

    `handler` receives each delivery. Returns a function that returns the subscriber's consumer; call it only after the
    broker has started. Rejects go through the outbox, not through this broker.
    """
    broker.publisher(DETAINER_REJECTED, schema=DetainerRejected)
    return subscriber.subscribe(broker, PARTITIONS, handler)


def create(settings: Settings, clock: Clock = system) -> Starlette:
    """The aggregator as an ASGI application. Its lifespan reads and counts, and releases its leases at shutdown.

    `clock` is for the retention of rejects. Raises ConfigurationError if PostgreSQL's address is malformed.
    """
    postgres.check(settings)
    for topic, outcome in product(EVENT_TOPICS, OUTCOMES):
        metrics.AGGREGATOR_RECORDS.labels(topic.name, outcome)  # at 0: Prometheus sees no increase in a first value
        metrics.LATE_RECORDS.labels(topic.name)
    broker = kafka.broker(settings, "ddor-aggregator", only_reads=True)
    started = asyncio.Event()

    async def running_consumer() -> Consumer:
        if not started.is_set():
            try:
                await kafka.start(broker.start)
            except BaseException:
                await broker.stop()  # a failed start leaves clients open, and the next start would open them again
                raise
            started.set()
        consumer: Consumer = get_consumer()
        return consumer

    worker = Worker(settings, kafka.client(settings, "ddor-aggregator-log"), running_consumer)
    get_consumer = declare(broker, worker.take)
    supervisor = Supervisor("leases and positions", worker.session)

    async def ready() -> str | None:
        return supervisor.waiting_for or worker.problem

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(supervisor.run(), name="aggregator"),
            asyncio.create_task(retention.run(settings, clock), name="retention"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await broker.stop()

    return http.application([], ready, lifespan, health_apart=settings.metrics_port is not None)
