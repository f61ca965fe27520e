"""services.runtime.lingering_close over real sockets: a client that is still sending gets the response."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from services.runtime import lingering_close
from services.runtime.lingering_close import LingeringProtocol

CHUNK = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
RESPONSE = b"y" * 200_000


async def refuse(_: Any, __: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Respond before the body is read."""
    headers = [(b"content-length", str(len(RESPONSE)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": RESPONSE})


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The port of a server with the route `refuse`."""
    config = uvicorn.Config(refuse, http=LingeringProtocol, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_client_that_is_still_sending_gets_the_whole_response() -> None:
    async with served() as port, connected(port) as (reader, writer):
        writer.write(HEAD)
        for _ in range(200):
            writer.write(CHUNK)
            await writer.drain()
        got = await asyncio.wait_for(reader.read(), 20)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert got.endswith(RESPONSE)


async def test_a_client_that_never_stops_sending_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering_close, "MAX_LINGER_SECONDS", 0.3)
    async with served() as port, connected(port) as (reader, writer):
        writer.write(HEAD)
        got = await asyncio.wait_for(reader.read(), 20)
        assert got.endswith(RESPONSE)

        async def send() -> None:
            while True:
                writer.write(CHUNK)
                await writer.drain()
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send(), 20)
