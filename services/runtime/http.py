"""The HTTP side of every service: /livez, /readyz, /metrics, and the server itself."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from services.runtime import metrics
from services.runtime.connections import BoundedProtocol
from services.runtime.logs import get
from services.runtime.problems import problem

log = get(__name__)

Readiness = Callable[[], Awaitable[str | None]]
"""Answers None when the service can do its work, else a sentence that says what it waits for."""

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    codes = {404: "not-found", 405: "method-not-allowed"}
    return problem(error.status_code, codes.get(error.status_code, "refused"), str(error.detail), headers)


async def _server_error(_: Request, __: Exception) -> Response:
    return problem(500, "internal-error", "The service failed on this request; its log says why.")


def application(
    routes: Sequence[BaseRoute], ready: Readiness, lifespan: Lifespan, stopping: asyncio.Event | None = None
) -> Starlette:
    """The service's routes with health and metrics beside them. `stopping` is set as soon as the process must end."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(2):
                waiting_for = await ready()
        except TimeoutError:
            waiting_for = "no answer within 2 s from what this service needs"
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
    app = Starlette(routes=[*routes, *health], lifespan=live, exception_handlers=handlers)
    app.state.stopping = stopping or asyncio.Event()
    return app


def _calm_collector() -> None:
    """Look for cycles seldom: what a batch makes is freed by its reference count, and young objects are many."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class _Server(uvicorn.Server):
    """Tells the application that it is to stop, so that requests without end can end."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def on_tick(self, counter: int) -> bool:
        ending = await super().on_tick(counter)
        if ending:
            self._stopping.set()
        return ending


def serve(app: Starlette, host: str, port: int, drain_seconds: int = 15) -> None:
    """Run until SIGTERM or SIGINT: stop accepting, finish what was read (at most `drain_seconds`), close."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=drain_seconds,
        timeout_keep_alive=30,
        server_header=False,
    )
    _calm_collector()
    server = _Server(config, app.state.stopping)
    server.run()
    if not server.started:
        raise SystemExit(3)
