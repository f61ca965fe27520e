"""An HTTP/1.1 client that sends any bytes and parses responses strictly."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

PATIENCE = 5.0
"""Only ends a test that hangs."""


class Response(NamedTuple):
    """One response. Header names are in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


class RawClient:
    """Bytes to a server, and its responses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, piece: bytes) -> None:
        """Send bytes as a separate segment. Ignores a closed connection."""
        try:
            self.writer.write(piece)
            await self.writer.drain()
        except ConnectionError:
            return

    async def response(self, *, of_head: bool = False, version: str = "1.1") -> Response | None:
        """The next response, or None at the end of the connection. Fails if it is malformed or incomplete."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._response(of_head, version)
        except TimeoutError:
            raise AssertionError("no response") from None

    async def _response(self, of_head: bool, version: str) -> Response | None:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise AssertionError(f"not an HTTP response: {end.partial[:80]!r}") from None
            return None
        line, *rest = head[:-4].decode("latin-1").split("\r\n")
        protocol, status, _ = line.split(" ", 2)
        assert protocol == "HTTP/1.1", line
        fields = {}
        for field in rest:
            name, _, value = field.partition(": ")
            assert name.lower() not in fields, f"{name} twice"
            fields[name.lower()] = value
        body = b"" if of_head or int(status) in (100, 204, 304) else await self._body(fields, version)
        return Response(int(status), fields, body)

    async def _body(self, fields: dict[str, str], version: str) -> bytes:
        if "transfer-encoding" in fields:
            assert fields["transfer-encoding"] == "chunked"
            assert version == "1.1", "a chunked response to HTTP/1.0"
            return await self._chunks()
        if "content-length" in fields:
            return await self.reader.readexactly(int(fields["content-length"]))
        assert fields.get("connection") == "close", "a response without an end"
        return await self.reader.read()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body


@asynccontextmanager
async def raw(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawClient]:
    """A connection to a port of this host."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000_000, ssl=tls)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
