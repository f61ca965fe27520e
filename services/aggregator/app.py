"""The aggregator's composition root. Nothing connects before the server starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import product

from starlette.applications import Starlette

from schemas.topics import EVENT_TOPICS
from services.aggregator import retention, subscriber
from services.aggregator.reader import Consumer
from services.aggregator.store import OUTCOMES
from services.aggregator.worker import PARTITIONS, Worker
from services.runtime import http, kafka, metrics
from services.runtime.clock import Clock, system
from services.runtime.settings import Settings
from services.runtime.supervise import Supervisor


def create(settings: Settings, clock: Clock = system) -> Starlette:
    """The aggregator as an ASGI application; its lifespan reads, counts, and gives its leases back at the end.

    `clock` says which rejects have been kept long enough.
    """
    for topic, outcome in product(EVENT_TOPICS, OUTCOMES):
        metrics.AGGREGATOR_RECORDS.labels(topic.name, outcome)  # at 0: Prometheus sees no increase in a first value
    broker = kafka.broker(settings, "ddor-aggregator", only_reads=True)
    started = asyncio.Event()

    async def running_consumer() -> Consumer:
        if not started.is_set():
            try:
                await kafka.start(broker.start)
            except BaseException:
                await broker.stop()  # it has opened a part of what it needs, and would open all of it again
                raise
            started.set()
        consumer: Consumer = consumer_of()
        return consumer

    worker = Worker(settings, kafka.client(settings, "ddor-aggregator-log"), running_consumer)
    consumer_of: Callable[[], Consumer] = subscriber.subscribe(broker, PARTITIONS, worker.take)
    supervisor = Supervisor("leases and positions", worker.session)

    async def ready() -> str | None:
        return supervisor.waiting_for

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

    return http.application([], ready, lifespan)
