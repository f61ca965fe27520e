"""Raw connections to a service, over sockets with small buffers."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from services.runtime.connection_limits import ConnectionLimiter
from services.runtime.connection_timeouts import BoundedProtocol
from services.runtime.tls.connection import TlsProtocol
from services.runtime.tls.reloaded import Reloaded

HEAD = b"GET / HTTP/1.1\r\nHost: service\r\n"
ASKED = HEAD + b"\r\n"
PIECE = bytes(65_536)
UPLOAD = b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + PIECE + b"\r\n"


class App:
    """Responds with `pieces` parts when released."""

    def __init__(self, pieces: int = 1) -> None:
        self.pieces = pieces
        self.open = asyncio.Event()
        self.open.set()
        self.ended = asyncio.Event()

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.pieces):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.ended.set()


class Connection:
    """Bytes to the service and back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def response(self) -> bytes:
        """The body of a chunked response."""
        await self.reader.readuntil(b"\r\n\r\n")
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def let_go(self) -> None:
        """Send until the connection ends."""
        with pytest.raises(ConnectionError):
            await self._send_for_ever()

    async def _send_for_ever(self) -> None:
        while True:
            self.writer.write(CHUNK)
            await self.writer.drain()
            await asyncio.sleep(0.01)

    async def refused(self) -> tuple[int, str]:
        """Status and code of the last response on the connection."""
        head, _, body = (await self.reader.read()).partition(b"\r\n\r\n")
        assert b"\r\nconnection: close" in head
        return int(head.split(b" ", 2)[1]), json.loads(body)["code"]


@asynccontextmanager
async def connected(
    app: App, keep_alive: int = 5, tls: tuple[Reloaded[ssl.SSLContext], ssl.SSLContext] | None = None
) -> AsyncIterator[Connection]:
    """`tls`: the contexts of server and client."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=keep_alive)
    state = ServerState()
    loop = asyncio.get_running_loop()
    limiter = ConnectionLimiter()

    def protocol() -> asyncio.Protocol:
        named: dict[str, Any] = {"config": config, "server_state": state, "app_state": {}}
        if tls is None:
            return cast(asyncio.Protocol, BoundedProtocol(**named))
        return TlsProtocol(context=lambda: tls[0].current, limiter=limiter, **named)

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(
        *server.sockets[0].getsockname(), limit=2 * len(PIECE), ssl=tls[1] if tls else None
    )
    try:
        async with asyncio.timeout(60):
            yield Connection(reader, writer)
    finally:
        writer.transport.abort()
        server.close()
        await asyncio.gather(*state.tasks, return_exceptions=True)


@asynccontextmanager
async def narrow(app: App, keep_alive: int = 1) -> AsyncIterator[tuple[socket.socket, ServerState]]:
    """A client that reads on demand, connected to a server through sockets with small buffers."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=keep_alive)
    state = ServerState()
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), sock=listening)
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await loop.sock_connect(client, listening.getsockname())
            async with asyncio.timeout(60):
                yield client, state
    finally:
        server.close()
        await asyncio.gather(*state.tasks, return_exceptions=True)
