"""The publisher's composition root. Nothing connects before the server starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from schemas.week import NotAWeekError
from services.publisher.closer import Closer
from services.publisher.openapi import document
from services.publisher.routes import Reports
from services.publisher.rules import Rules, current
from services.runtime import http, kafka, openapi, postgres
from services.runtime.agencies import AgenciesFile
from services.runtime.clock import Clock, system
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings
from services.runtime.supervise import Supervisor

_DEMONSTRATION = "Demonstration data."


def create(settings: Settings, clock: Clock = system) -> Starlette:
    """The publisher as an ASGI application. ConfigurationError without DDOR_FIRST_WEEK or a valid agencies file."""
    if settings.first_week is None:
        raise ConfigurationError("set DDOR_FIRST_WEEK to the first day of the earliest week that closes by itself")
    try:
        first_week = settings.calendar.week(settings.first_week).first
    except NotAWeekError as error:
        raise ConfigurationError(f"DDOR_FIRST_WEEK: {error}") from None
    agencies = AgenciesFile(settings.agencies_file, time.monotonic)
    if agencies.current() is None:
        raise ConfigurationError(f"{settings.agencies_file}: {agencies.problem}")

    def rules() -> Rules:
        known = agencies.current()
        assert known is not None, "read at the start; a later bad edit keeps the last valid one"
        notes = [settings.note or _DEMONSTRATION] if settings.demonstration else []
        return current(
            settings.calendar,
            known,
            demonstration=settings.demonstration,
            notes=notes,
            line_list=settings.line_list,
            legal_basis=settings.line_list_basis,
        )

    reports = Reports(lambda: postgres.pool(settings, "ddor-publisher-http"), settings.calendar)
    closer = Closer(settings, kafka.client(settings, "ddor-publisher"), first_week, rules, clock)
    supervisor = Supervisor("closing and sending", closer.session)

    async def ready() -> str | None:
        return supervisor.waiting_for or await reports.waiting_for()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with reports.connected():
            task = asyncio.create_task(supervisor.run(), name="closer")
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return http.application([*reports.routes, *openapi.routes(document())], ready, lifespan)
