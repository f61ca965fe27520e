"""A tunnel to a server with TLS, so that tests with raw bytes and half-closes also run over TLS.

asyncio's TLS transport cannot close only its sending side.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from deploy.local.ports import LOOPBACK


class Tunnel(NamedTuple):
    """The port, and an entry for each connection that leads through."""

    port: int
    opened: asyncio.Queue[None]


class _Tls:
    """The client's side of one TLS connection."""

    def __init__(self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=LOOPBACK)

    async def flush(self) -> None:
        if self._outgoing.pending:
            self.writer.write(self._outgoing.read())
            await self.writer.drain()

    async def _more(self) -> bool:
        data = await self._reader.read(65_536)
        self._incoming.write(data)
        return bool(data)

    async def handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                if not await self._more():
                    raise ConnectionResetError("closed during the handshake") from None
            else:
                await self.flush()
                return

    async def write(self, data: bytes) -> None:
        self._tls.write(data)
        await self.flush()

    async def end(self, *, notify: bool) -> None:
        """Close the sending side, with TLS's own end or only that of TCP."""
        if notify:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            await self.flush()
        self.writer.write_eof()

    async def read(self) -> bytes:
        """The next bytes, empty at the end of TLS. Raises ConnectionResetError if only TCP ends."""
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                if not await self._more():
                    raise ConnectionResetError("no end of TLS") from None
            except ssl.SSLZeroReturnError:
                return b""


@asynccontextmanager
async def tunnel(port: int, context: ssl.SSLContext, *, notify: bool = False) -> AsyncIterator[Tunnel]:
    """A port without TLS that leads to `port` with TLS. `notify`: a client ends with close_notify, too."""
    tasks: set[asyncio.Task[None]] = set()
    opened: asyncio.Queue[None] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = _Tls(context, *await asyncio.open_connection(LOOPBACK, port))

        async def up() -> None:
            with suppress(ConnectionError):
                while data := await reader.read(65_536):
                    await tls.write(data)
                await tls.end(notify=notify)

        sending = None
        try:
            await tls.handshake()
            opened.put_nowait(None)
            sending = asyncio.create_task(up())
            while data := await tls.read():
                writer.write(data)
                await writer.drain()
            writer.close()
        except (ConnectionError, ssl.SSLError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            if sending is not None:
                sending.cancel()
            tls.writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, LOOPBACK, 0)
    try:
        yield Tunnel(server.sockets[0].getsockname()[1], opened)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
