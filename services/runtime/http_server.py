"""uvicorn as the HTTP server of every service: limits, TLS, a port for operators, and an orderly shutdown."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette

from services.runtime import descriptors
from services.runtime.connection_limits import PER_ADDRESS, TOTAL, ConnectionLimiter
from services.runtime.connection_timeouts import BoundedProtocol
from services.runtime.logs import get
from services.runtime.tls.connection import TlsProtocol
from services.runtime.tls.expiry import Expiries
from services.runtime.tls.reloaded import Reloaded
from services.runtime.tls.watch import watching

log = get(__name__)

Ended = Callable[[], Awaitable[None]]

DRAIN_SECONDS = 15
_HEALTH_CONNECTIONS = 64
"""Open connections of the port for operators, apart from those of clients."""


def _tune_garbage_collector() -> None:
    """Run the garbage collector rarely: batches create many objects, and reference counting frees them."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)


class _Server(uvicorn.Server):
    """Sets `stopping` when shutdown begins, so that endless requests can end. Awaits `ended` after the shutdown.

    Watches the files of certificates.
    """

    ended: Ended | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        stopping: asyncio.Event,
        tls: Reloaded[ssl.SSLContext] | None,
        health: uvicorn.Config | None,
        expiries: Expiries,
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._tls = tls
        self._health = health
        self._expiries = expiries

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM or SIGINT."""
        reloaded = [] if self._tls is None else [self._tls]
        async with watching(reloaded, self._expiries):
            await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, also on the port for operators."""
        await super().startup(sockets)
        if self._health is not None:
            self.servers.append(await self._listen(self._health))

    async def _listen(self, config: uvicorn.Config) -> asyncio.Server:
        config.load()
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            make: Any = config.http_protocol_class
            return cast(asyncio.Protocol, make(config=config, server_state=self.server_state, app_state={}, _loop=loop))

        return await loop.create_server(protocol, config.host, config.port, backlog=config.backlog)

    def _log_started_message(self, listeners: Sequence[socket.SocketType]) -> None:
        """uvicorn does not know of TLS and would log http://."""
        if self._tls is None:
            super()._log_started_message(listeners)
        else:
            log.info("listening-with-tls", host=self.config.host, port=self.config.port)

    async def on_tick(self, counter: int) -> bool:
        ending = await super().on_tick(counter)
        if ending:
            self._stopping.set()
        return ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish open requests, and close."""
        await super().shutdown(sockets)
        if self.ended is not None:  # here, because a signal ends the process when the server has ended
            await self.ended()


def _config(app: Starlette, host: str, port: int, protocol: object, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast(type[asyncio.Protocol], protocol),
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=30,
        server_header=False,
        reset_contextvars=True,  # a pipelined request must not have the ids of the request before it
        **more,
    )


def server(
    app: Starlette,
    host: str,
    port: int,
    limiter: ConnectionLimiter | None = None,
    *,
    tls: Reloaded[ssl.SSLContext] | None = None,
    health_port: int | None = None,
    certificates: Mapping[str, Path] | None = None,
) -> _Server:
    """The server of an application, not started, with the connection limits of `limiter`.

    `tls` has the context for each new connection. `health_port` serves the application `state.health`, without TLS.
    `certificates` are the files for the metric of their expiry, by use.
    """
    limiter = limiter or ConnectionLimiter()
    protocol = (
        partial(BoundedProtocol, limiter=limiter)
        if tls is None
        else partial(TlsProtocol, context=lambda: tls.current, limiter=limiter)
    )
    health = None
    if health_port is not None:
        bounded = partial(BoundedProtocol, limiter=ConnectionLimiter(2 * _HEALTH_CONNECTIONS, _HEALTH_CONNECTIONS))
        health = _config(app.state.health, host, health_port, bounded, lifespan="off")
    expiries = Expiries(certificates or {})
    return _Server(_config(app, host, port, protocol), app.state.stopping, tls, health, expiries)


def serve(
    app: Starlette,
    host: str,
    port: int,
    *,
    connections: int = TOTAL,
    per_address: int = PER_ADDRESS,
    tls: Reloaded[ssl.SSLContext] | None = None,
    health_port: int | None = None,
    certificates: Mapping[str, Path] | None = None,
    ended: Ended | None = None,
) -> None:
    """Run until SIGTERM or SIGINT. Then stop accepting, finish open requests (at most 15 seconds), and await `ended`.

    `connections` is the maximum number of open connections. Clients that have not authenticated may have at most half
    of them, and `per_address` from one address. Raises ConfigurationError if the limit on open files is too low.
    """
    descriptors.ensure(connections if health_port is None else connections + _HEALTH_CONNECTIONS)
    _tune_garbage_collector()
    limiter = ConnectionLimiter(connections, per_address)
    running = server(app, host, port, limiter, tls=tls, health_port=health_port, certificates=certificates)
    running.ended = ended
    running.run()
    if not running.started:
        raise SystemExit(3)
