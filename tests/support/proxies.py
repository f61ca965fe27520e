"""TCP proxies that break or block connections on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

_COMMIT = b"COMMIT;\0"


class Proxy:
    """Forwards everything."""

    async def serve(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], host: str, port: int) -> None:
        """Forward one connection."""
        reader, writer = client
        server_reader, server_writer = await asyncio.open_connection(host, port)
        committing = asyncio.Event()
        upstream = asyncio.create_task(self._up(reader, server_writer, committing))
        downstream = asyncio.create_task(self._down(server_reader, writer, committing))
        try:
            await asyncio.wait([upstream, downstream], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in (writer, server_writer):
                side.close()
            for task in (upstream, downstream):
                task.cancel()
        await asyncio.gather(upstream, downstream, return_exceptions=True)

    async def _up(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, committing: asyncio.Event) -> None:
        while data := await client.read(65_536):
            await self._asks(data, committing)
            server.write(data)
            await server.drain()

    async def _down(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, committing: asyncio.Event
    ) -> None:
        while data := await server.read(65_536):
            if not await self._lets(data, committing):
                return
            client.write(data)
            await client.drain()

    async def _asks(self, data: bytes, committing: asyncio.Event) -> None:
        """Called before data go to the server."""

    async def _lets(self, data: bytes, committing: asyncio.Event) -> bool:
        """Whether to forward data of the server to the client; otherwise the connection is cut."""
        return True


class CommitCutter(Proxy):
    """Forwards the next `cuts` commits to the server, and cuts the connection before the response."""

    def __init__(self, cuts: int) -> None:
        self.cuts = cuts
        self.done = 0

    async def _asks(self, data: bytes, committing: asyncio.Event) -> None:
        if data.endswith(_COMMIT) and self.done < self.cuts:
            committing.set()

    async def _lets(self, data: bytes, committing: asyncio.Event) -> bool:
        if not committing.is_set():
            return True
        assert b"COMMIT\0" in data, "the server has committed"
        self.done += 1
        return False


class Line(Proxy):
    """Blocks both directions while `open` is not set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def _asks(self, data: bytes, committing: asyncio.Event) -> None:
        await self.open.wait()

    async def _lets(self, data: bytes, committing: asyncio.Event) -> bool:
        await self.open.wait()
        return True


class CopyHeld(Proxy):
    """Forwards a COPY statement into `table` but no rows, as if the client stopped in between."""

    def __init__(self, table: str) -> None:
        self._copy = f'COPY "{table}"'.encode()
        self.begun = asyncio.Event()
        self.open = asyncio.Event()

    async def _up(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, committing: asyncio.Event) -> None:
        while data := await client.read(65_536):
            statement = data.find(self._copy)
            if statement >= 0:
                rows = data.index(b"\0", statement) + 1
                server.write(data[:rows])
                self.begun.set()
                await self.open.wait()
                data = data[rows:]
            server.write(data)
            await server.drain()


_P = TypeVar("_P", bound=Proxy)


@asynccontextmanager
async def carrying(proxy: Proxy, host: str, port: int) -> AsyncIterator[int]:
    """The port on 127.0.0.1 from which the proxy forwards connections to a server, which may start later."""
    server = await asyncio.start_server(lambda *client: proxy.serve(client, host, port), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def in_front(dsn: str, proxy: _P) -> AsyncIterator[tuple[str, _P]]:
    """The DSN of a proxy in front of the server that `dsn` names."""
    parts = urlsplit(dsn)
    async with carrying(proxy, parts.hostname or "127.0.0.1", parts.port or 5432) as port:
        netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
        yield urlunsplit(parts._replace(netloc=netloc)), proxy
