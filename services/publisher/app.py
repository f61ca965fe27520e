"""The publisher's composition root. Nothing connects until the server starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta

from faststream.kafka import KafkaBroker
from starlette.applications import Starlette

from schemas.announcement import ReportReady
from schemas.topics import REPORT_LATEST, REPORT_READY
from services.publisher.audit import Auditor
from services.publisher.clock_skew import LIMIT
from services.publisher.desk.access import DeskKey
from services.publisher.desk.desk import Desk
from services.publisher.desk.routes import DeskRoutes
from services.publisher.inputs import ReportInputs, of_settings
from services.publisher.leader import LeaderSession
from services.publisher.site.about import About
from services.publisher.site.openapi import document
from services.publisher.site.reader_pool import CONNECTIONS
from services.publisher.site.routes import Site
from services.publisher.verification import Verifier
from services.runtime import dsn, http, kafka, openapi, postgres
from services.runtime.agencies import AgenciesFile, Agency
from services.runtime.clock import Clock, system
from services.runtime.errors import ConfigurationError
from services.runtime.kafka_rights import MissingRightError
from services.runtime.settings import Settings
from services.runtime.supervise import Supervisor


def declare(broker: KafkaBroker) -> None:
    """Declare the topics that the publisher sends to, for the AsyncAPI document.

    The relay sends with aiokafka: FastStream's publishers do not use Kafka transactions.
    """
    for topic in (REPORT_READY, REPORT_LATEST):
        broker.publisher(topic, schema=ReportReady)


def create(settings: Settings, clock: Clock = system, *, skew: timedelta = LIMIT) -> Starlette:
    """Create the ASGI application. ConfigurationError without a valid first week or agencies file.

    `skew`: the permitted difference between `clock` and the clocks of PostgreSQL and Kafka.
    """
    about = About.of(settings)
    postgres.check(settings)
    agencies = AgenciesFile(settings.agencies_file, time.monotonic)
    if agencies.current() is None:
        raise ConfigurationError(agencies.problem)

    def inputs() -> ReportInputs:
        known = agencies.current()
        assert known is not None, "valid at start; after an invalid edit, the last valid content is used"
        return of_settings(settings, known)

    stopping = asyncio.Event()
    reports = Site(
        lambda: postgres.pool(settings, "ddor-publisher-http", CONNECTIONS, readers=True), about, clock, stopping
    )
    leader = LeaderSession(
        settings, kafka.client(settings, "ddor-publisher"), about.first_week, inputs, clock, skew=skew
    )
    supervisor = Supervisor("closing and sending", leader.session)
    # Not a part of readiness, except for a missing right: its problems appear in `ddor_session_up`, and readers are
    # served without it.
    verifier = Verifier(settings, kafka.client(settings, "ddor-publisher-verification"))
    verifying = Supervisor("verification", verifier.session)
    auditing = Supervisor("audit", Auditor(settings, clock).session)

    def sessions() -> dict[str, str | None]:
        return {
            "closing and sending": supervisor.waiting_for,
            "verification": verifying.waiting_for,
            "audit": auditing.waiting_for,
            "agencies file": agencies.problem,
        }

    def listed() -> Sequence[Agency]:
        known = agencies.current()
        return known.listed if known else ()

    desk: DeskRoutes | None = None
    if settings.desk_key is not None:  # without a key there is no route: the response is that of an unknown path
        key = DeskKey(settings.desk_key.get_secret_value())
        desk = DeskRoutes(Desk(settings, clock, listed, sessions), key)

    async def reading() -> str | None:
        problem = await reports.waiting_for()
        has_own_login = settings.reader_postgres_dsn is not None
        return f"readers ({dsn.READER_SETTING}): {problem}" if problem and has_own_login else problem

    async def ready() -> str | None:
        agencies.current()
        denied = verifying.waiting_for if isinstance(verifying.error, MissingRightError) else None
        waiting = "; ".join(filter(None, (supervisor.waiting_for, denied)))
        return waiting or await reading() or agencies.problem

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with reports.connected(), desk.connected() if desk else nullcontext():
            tasks = [asyncio.create_task(one.run()) for one in (supervisor, verifying, auditing)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    routes = [*reports.routes, *(desk.routes if desk else ())]
    apart = settings.metrics_port is not None
    return http.application([*routes, *openapi.routes(document())], ready, lifespan, stopping, health_apart=apart)
