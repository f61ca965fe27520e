"""services.importer.sending to an ingest that reads slowly, over a socket."""

from __future__ import annotations

import asyncio
import json
import socket

import httpx
import stamina

from services.importer import sending


async def test_a_body_that_is_read_slowly_does_not_time_out() -> None:
    """Ingest reads at the agency's rate. The timeout applies to one write, not to the whole body."""
    lines = [b'{"n":%d,"filler":"%s"}' % (number, b"x" * 500) for number in range(2_000)]
    receipts = [{"line": line, "status": "rejected", "code": "x", "detail": "x"} for line in range(1, len(lines) + 1)]

    async def read_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = b""
        while not end.endswith(b"0\r\n\r\n"):
            end = end[-5:] + await reader.read(65_536)
            await asyncio.sleep(0.1)
        body = b"".join(json.dumps(receipt).encode() + b"\n" for receipt in receipts)
        writer.write(b"HTTP/1.1 207 Multi-Status\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    server = await asyncio.start_server(read_slowly, sock=listening)
    small = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)])
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with server, httpx.AsyncClient(transport=small, base_url=base, timeout=httpx.Timeout(60, write=1)) as client:
        with stamina.set_testing(True, attempts=1):
            assert await sending.Ingest(client, "key").send(lines) == receipts
