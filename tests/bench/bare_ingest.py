"""Ingest without Kafka, for comparison: HTTP, validation, authorization and receipts, but nothing is stored."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.ingest.endpoint import EventsEndpoint
from services.ingest.intake import PARTITIONS, Accepted, Judged, Partitions
from services.ingest.kafka.producer import EventProducer
from services.ingest.limits import RateLimiter
from services.ingest.receipts import Receipt
from services.runtime import clock, http, http_server, logs, settings
from services.runtime.agencies import AgenciesFile


class Nowhere(EventProducer):
    """Returns a receipt for each event without storing it."""

    def __init__(self) -> None:
        """Does not connect."""

    def partitions(self) -> Partitions:
        """The initial partitions."""
        return PARTITIONS

    async def store(self, judged: Sequence[Judged]) -> list[Receipt]:
        """Receipts at once."""
        return [one.stored(one.line) if isinstance(one, Accepted) else one.receipt for one in judged]


def main() -> None:
    """Serve on the port of ingest."""
    loaded = settings.load()
    logs.configure(loaded, "ingest")
    endpoint = EventsEndpoint(
        AgenciesFile(loaded.agencies_file, time.monotonic), clock.system, RateLimiter(), loaded.calendar
    )
    endpoint.producer = Nowhere()

    async def ready() -> str | None:
        return None

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield

    http_server.serve(
        http.application(endpoint.routes, ready, lifespan, endpoint.stopping), loaded.host, loaded.ingest_port
    )


if __name__ == "__main__":
    main()
