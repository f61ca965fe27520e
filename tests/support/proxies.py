"""A TCP proxy in front of PostgreSQL that breaks connections where a test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

_COMMIT = b"COMMIT;\0"


class CommitCutter:
    """Lets the next `cuts` commits reach the server, and cuts the connection before the client hears of it."""

    def __init__(self, cuts: int) -> None:
        self.cuts = cuts
        self.done = 0

    async def serve(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], host: str, port: int) -> None:
        """Carry one connection."""
        reader, writer = client
        server_reader, server_writer = await asyncio.open_connection(host, port)
        committing = asyncio.Event()
        asked = asyncio.create_task(self._up(reader, server_writer, committing))
        answered = asyncio.create_task(self._down(server_reader, writer, committing))
        await asyncio.wait([asked, answered], return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, answered):
            task.cancel()
        await asyncio.gather(asked, answered, return_exceptions=True)
        for side in (writer, server_writer):
            side.close()

    async def _up(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, committing: asyncio.Event) -> None:
        while data := await client.read(65_536):
            if data.endswith(_COMMIT) and self.done < self.cuts:
                committing.set()
            server.write(data)
            await server.drain()

    async def _down(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, committing: asyncio.Event
    ) -> None:
        while data := await server.read(65_536):
            if committing.is_set():
                assert b"COMMIT\0" in data, "the server has committed"
                self.done += 1
                return
            client.write(data)
            await client.drain()


@asynccontextmanager
async def cutting_commits(dsn: str, cuts: int) -> AsyncIterator[tuple[str, CommitCutter]]:
    """The DSN of a proxy in front of the server that `dsn` names."""
    parts = urlsplit(dsn)
    cutter = CommitCutter(cuts)
    server = await asyncio.start_server(
        lambda *client: cutter.serve(client, parts.hostname or "127.0.0.1", parts.port or 5432), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
    try:
        yield urlunsplit(parts._replace(netloc=netloc)), cutter
    finally:
        server.close()
