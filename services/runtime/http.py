"""The HTTP server of every service, with /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.runtime import descriptors, metrics, request_id
from services.runtime.connection_limits import PER_ADDRESS, TOTAL, ConnectionLimiter
from services.runtime.connection_timeouts import BoundedProtocol
from services.runtime.logs import get
from services.runtime.problems import problem
from services.runtime.request_head import names_a_resource
from services.runtime.request_id import RequestIds

log = get(__name__)

_DRAIN_SECONDS = 15

Readiness = Callable[[], Awaitable[str | None]]
"""Returns None if the service is ready, else a sentence that names what it waits for."""

Ended = Callable[[], Awaitable[None]]

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
    routes: Sequence[BaseRoute], ready: Readiness, lifespan: Lifespan, stopping: asyncio.Event | None = None
) -> Starlette:
    """The application with the service's routes, health and metrics. `stopping` is set when shutdown begins."""

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
    handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: _server_error}
    app = Starlette(
        routes=[*routes, *health],
        lifespan=live,
        exception_handlers=handlers,
        middleware=[Middleware(RequestIds), Middleware(_RefuseEncodedPaths)],
    )
    app.router.redirect_slashes = False
    app.state.stopping = stopping or asyncio.Event()
    return app


def _tune_garbage_collector() -> None:
    """Run the garbage collector rarely: batches create many objects, and reference counting frees them."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)


class _Server(uvicorn.Server):
    """Sets `stopping` when shutdown begins, so that endless requests can end. Awaits `ended` after the shutdown."""

    ended: Ended | None = None

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def on_tick(self, counter: int) -> bool:
        ending = await super().on_tick(counter)
        if ending:
            self._stopping.set()
        return ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.ended is not None:  # here, because a signal ends the process when the server has ended
            await self.ended()


def server(app: Starlette, host: str, port: int, limiter: ConnectionLimiter | None = None) -> _Server:
    """The server of an application, not started, with the connection limits of `limiter`."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast(type[asyncio.Protocol], partial(BoundedProtocol, limiter=limiter or ConnectionLimiter())),
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        timeout_keep_alive=30,
        server_header=False,
        reset_contextvars=True,  # a pipelined request must not have the ids of the request before it
    )
    return _Server(config, app.state.stopping)


def serve(
    app: Starlette,
    host: str,
    port: int,
    *,
    connections: int = TOTAL,
    per_address: int = PER_ADDRESS,
    ended: Ended | None = None,
) -> None:
    """Run until SIGTERM or SIGINT. Then stop accepting, finish open requests (at most 15 seconds), and await `ended`.

    `connections` is the maximum number of open connections. Clients that have not authenticated may have at most half
    of them, and `per_address` from one address. Raises ConfigurationError if the limit on open files is too low.
    """
    descriptors.ensure(connections)
    _tune_garbage_collector()
    running = server(app, host, port, ConnectionLimiter(connections, per_address))
    running.ended = ended
    running.run()
    if not running.started:
        raise SystemExit(3)
