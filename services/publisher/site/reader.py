"""Runs the statements of routes, and turns the errors of an endpoint into responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.publisher.site import report_requests, responses
from services.publisher.site.compression import CACHE_BYTES, Compression
from services.publisher.site.reader_pool import Connect, ReaderPool, TooManyReadersError
from services.publisher.site.render_cache import RenderCache
from services.publisher.site.responses import ProblemError
from services.runtime import error_messages, metrics
from services.runtime.errors import InvariantError
from services.runtime.logs import get

log = get(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class Reader:
    """The database of the routes."""

    def __init__(self, connect: Connect) -> None:
        self._database = ReaderPool(connect)
        self._unavailable = False
        self._compressed = RenderCache(CACHE_BYTES)

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep the connections open. Use it for the lifetime of the service."""
        return self._database.connected()

    async def waiting_for(self) -> str | None:
        """None if reports can be read, else the problem."""
        return await self._database.waiting_for()

    async def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of a statement."""
        return await self._database.rows(statement, *arguments)

    async def row(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """The first row of a statement, or None."""
        return next(iter(await self.rows(statement, *arguments)), None)

    def page(self, path: str, endpoint: Endpoint, *parameters: str) -> Route:
        """A route for people: problems are HTML pages. See `file`."""
        return self._route(path, self._reading(endpoint, parameters, responses.problem_page))

    def file(self, path: str, endpoint: Endpoint, *parameters: str) -> Route:
        """A route for programs: problems are JSON (RFC 9457).

        `parameters` are the accepted query parameters; any other one is an error (400).
        """
        return self._route(path, self._reading(endpoint, parameters, responses.problem_document))

    def _route(self, path: str, endpoint: Endpoint) -> Route:
        return Route(path, endpoint, middleware=[Middleware(Compression, self._compressed)])

    def _reading(
        self, endpoint: Endpoint, parameters: tuple[str, ...], show: Callable[[ProblemError], Response]
    ) -> Endpoint:
        """Wrap an endpoint: respond 503 if too many readers wait or PostgreSQL is unavailable.

        The first failure and the recovery are logged.
        """

        async def respond(request: Request) -> Response:
            try:
                report_requests.check_parameters(request, parameters)
                response = await endpoint(request)
            except ProblemError as error:
                response = show(error)
            except Exception as error:
                self.note_failure(error)
                response = show(responses.UNAVAILABLE)
            else:
                self.note_success()
            response.headers.setdefault("Cache-Control", "no-cache")
            return response

        return respond

    def note_failure(self, error: Exception) -> None:
        """Log the first failure of PostgreSQL, and count refused readers. Raises an error of any other cause again."""
        if isinstance(error, TooManyReadersError):
            metrics.READERS_TURNED_AWAY.inc()
            return
        why = error_messages.message(error)
        if why is None or isinstance(error, InvariantError):
            raise error
        if not self._unavailable:
            log.warning("reports-unavailable", error=type(error).__name__, reason=why)
        self._unavailable = True

    def note_success(self) -> None:
        """Log that PostgreSQL responds again."""
        if self._unavailable:
            log.info("reports-available")
            self._unavailable = False
