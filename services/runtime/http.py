"""The application of every service, with /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.runtime import metrics, request_id
from services.runtime.problems import problem
from services.runtime.request_head import names_a_resource
from services.runtime.request_id import RequestIds

Readiness = Callable[[], Awaitable[str | None]]
"""Returns None if the service is ready, else a sentence that names what it waits for."""

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    codes = {404: "not-found", 405: "method-not-allowed"}
    return problem(error.status_code, codes.get(error.status_code, "refused"), str(error.detail), headers)


async def _server_error(_: Request, __: Exception) -> Response:
    # This response does not pass through the middleware.
    headers = {request_id.HEADER: known} if (known := request_id.current()) else None
    return problem(500, "internal-error", "Internal error; see the log of the service.", headers)


class _RefuseEncodedPaths:
    """Responds 404 to paths with encoded control characters or slashes, which could match a route once decoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not names_a_resource(scope.get("raw_path", b"")):
            await problem(404, "not-found", "Not Found")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def application(
    routes: Sequence[BaseRoute],
    ready: Readiness,
    lifespan: Lifespan,
    stopping: asyncio.Event | None = None,
    *,
    health_apart: bool = False,
) -> Starlette:
    """The application with the service's routes, health and metrics. `stopping` is set when shutdown begins.

    `health_apart`: health and metrics are another application, `state.health`, for a port of their own.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(2):
                waiting_for = await ready()
        except TimeoutError:
            waiting_for = "no response within 2 s from Kafka or PostgreSQL"
        if waiting_for is None:
            return PlainTextResponse("ready\n")
        return problem(503, "not-ready", waiting_for, {"Retry-After": "5"})

    async def show_metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @asynccontextmanager
    async def live(_: Starlette) -> AsyncIterator[None]:
        metrics.publish_build(os.environ.get("DDOR_REVISION", "unknown"))
        async with lifespan():
            yield

    health = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", show_metrics)]
    app = _starlette([*routes] if health_apart else [*routes, *health], live)
    app.state.stopping = stopping or asyncio.Event()
    app.state.health = _starlette(health) if health_apart else None
    return app


def _starlette(routes: Sequence[BaseRoute], lifespan: Callable[[Starlette], Any] | None = None) -> Starlette:
    handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: _server_error}
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers=handlers,
        middleware=[Middleware(RequestIds), Middleware(_RefuseEncodedPaths)],
    )
    app.router.redirect_slashes = False
    return app
