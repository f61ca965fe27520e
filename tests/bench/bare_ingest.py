"""Ingest without Kafka: HTTP, validation, authorisation, receipts; nothing is stored. To compare with."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.ingest import intake
from services.ingest.intake import Accepted, Judged
from services.ingest.producing import EventProducer
from services.ingest.rates import Rates
from services.ingest.receipts import Receipt
from services.ingest.routes import Door
from services.runtime import clock, http, logs, settings
from services.runtime.agencies import AgenciesFile


class Nowhere(EventProducer):
    """Calls every event stored."""

    def __init__(self) -> None:
        """Nothing to connect to."""

    def partitions(self) -> dict[str, int]:
        """As the topics are made."""
        return dict(intake.PARTITIONS)

    async def store(self, judged: Sequence[Judged]) -> list[Receipt]:
        """Receipts at once."""
        return [one.stored(one.line) if isinstance(one, Accepted) else one.receipt for one in judged]


def main() -> None:
    """Serve on the port of ingest."""
    loaded = settings.load()
    logs.configure(loaded, "ingest")
    door = Door(AgenciesFile(loaded.agencies_file, time.monotonic), clock.system, Rates(), loaded.calendar)
    door.producer = Nowhere()

    async def ready() -> str | None:
        return None

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield

    http.serve(http.application(door.routes, ready, lifespan, door.stopping), loaded.host, loaded.ingest_port)


if __name__ == "__main__":
    main()
