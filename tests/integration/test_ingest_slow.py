"""Slow clients (slowloris): each gets an error and is disconnected; an idle stream is not."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deploy.local.service import Service
from services.ingest.body.reader import BODY_SECONDS
from services.runtime.connection_timeouts import HEAD_SECONDS
from tests.support import streams
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.processes import BATCH, SINGLE
from tests.support.streams import Stream

_MARGIN = 10.0
HEAD = f"POST /v1/events HTTP/1.1\r\nHost: ingest\r\nAuthorization: Bearer {key_of(LAS_VEGAS)}\r\n".encode()


class Connection:
    """A bare connection to the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, ingest: Service) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def send_all(self, data: bytes) -> None:
        """Send without reading."""
        self._reader._transport.pause_reading()  # type: ignore[attr-defined]  # otherwise asyncio reads ahead
        self._writer.transport.set_write_buffer_limits(0)
        self._writer.write(data)
        await self._writer.drain()
        self._reader._transport.resume_reading()  # type: ignore[attr-defined]

    async def lines(self) -> list[Any]:
        """The lines of a chunked response."""
        assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 207 ")
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        return [json.loads(line) for line in body.splitlines()]

    async def dribble(self, data: bytes) -> None:
        """Send a byte every 0.1 seconds until the server closes."""
        for byte in data:
            if self._reader.at_eof():
                return
            self._writer.write(bytes([byte]))
            await asyncio.sleep(0.1)

    async def response(self) -> tuple[int, Any]:
        """Status and JSON of a response."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self._reader.readexactly(int(length.split(b":")[1]))
        return int(head.split(b" ", 2)[1]), json.loads(body)

    async def refused(self, seconds: float) -> tuple[int, str]:
        """Status and code of the last response of the connection, which arrives after `seconds` and not before."""
        clock = asyncio.get_running_loop().time
        began = clock()
        status, problem = await asyncio.wait_for(self.response(), seconds + _MARGIN)
        assert clock() - began > seconds - 1
        assert await asyncio.wait_for(self._reader.read(), _MARGIN) == b"", "closed"
        return status, problem["code"]


async def test_a_header_timeout_is_408(ingest: Service) -> None:
    async with Connection.open(ingest) as one:
        one.send(HEAD)
        assert await one.refused(HEAD_SECONDS) == (408, "too-slow")


@pytest.mark.long(
    "waits for the time-out of a body, 20 seconds; tests/unit/test_stream_response_slow.py has a short one"
)
async def test_a_body_timeout_is_408_and_an_idle_stream_continues(ingest: Service) -> None:
    async def stops(content_type: str) -> None:
        async with Connection.open(ingest) as one:
            one.send(HEAD + f"Content-Type: {content_type}\r\nContent-Length: 500\r\n\r\n".encode())
            one.send(b"[" if content_type == BATCH else b"{")
            assert await one.refused(BODY_SECONDS) == (408, "too-slow")

    async def dribbles() -> None:
        async with Connection.open(ingest) as one:
            one.send(HEAD + f"Content-Type: {SINGLE}\r\nContent-Length: 1000000\r\n\r\n".encode())
            dribbling = asyncio.create_task(one.dribble(b" " * 1_000))
            status, problem = await asyncio.wait_for(one.response(), BODY_SECONDS + _MARGIN)
            dribbling.cancel()
            assert (status, problem["code"]) == (408, "too-slow")

    async def only_waits() -> None:
        stream = await Stream.open(ingest)
        await stream.send(streams.lines([1]))
        assert await stream.status() == 207
        lines = stream.lines()
        assert (await anext(lines))["status"] == "accepted"
        await asyncio.sleep(BODY_SECONDS + 1)  # nothing may happen
        await stream.send(streams.lines([2]))
        await stream.end()
        assert [line async for line in lines][-1]["summary"]["accepted"] == 2
        await stream.close()

    await asyncio.gather(stops(SINGLE), stops(BATCH), dribbles(), only_waits())


async def test_a_client_that_reads_last_gets_the_error_of_its_stream(ingest: Service) -> None:
    """No deadlock, although the unread receipts exceed the socket buffers."""
    bad = [b"%032x" % random.getrandbits(128) for _ in range(100_000)]
    body = gzip.compress(b"\n".join(bad) + b"\n", compresslevel=1) + b"x" * 20_000_000
    async with Connection.open(ingest) as one:
        one.send(HEAD + b"Content-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\n")
        one.send(f"Content-Length: {len(body)}\r\n\r\n".encode())
        await asyncio.wait_for(one.send_all(body), 60)
        *receipts, last = await asyncio.wait_for(one.lines(), 60)
    assert [one["line"] for one in receipts] == list(range(1, len(bad) + 1))
    assert last["error"]["code"] == "bad-compression"
