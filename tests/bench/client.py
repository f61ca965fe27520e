"""A client with low overhead: HTTP/1.1 over asyncio streams, with prepared bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

import psutil

from deploy.local.service import Service
from tests.bench.machine import Measured, Usage

CONNECTIONS = 32


class TimedResponse(NamedTuple):
    """The response to one request, and its latency in seconds."""

    status: int
    retry_after: bool
    seconds: float


class Client:
    """Posts bodies to a service and measures it."""

    def __init__(self, service: Service, key: str, kafka: psutil.Process | None) -> None:
        self._service = service
        self._key = key
        self._kafka = kafka

    async def post_all(
        self, bodies: Sequence[bytes], media_type: str, events: int, connections: int = CONNECTIONS
    ) -> Measured:
        """Post all bodies over this many connections. Returns events per second and the server's CPU use."""
        waiting = iter(bodies)
        process = self._service.process.find()
        assert process is not None, "the service runs"
        usage = Usage(process, self._kafka)

        async def work() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._service.port)
            for body in waiting:
                response = await self._post(reader, writer, body, media_type)
                if response.status not in (200, 202, 207):
                    raise RuntimeError(f"the service responds {response.status}")
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(work() for _ in range(connections)))
        return usage.measured(events)

    async def at_fixed_rate(self, bodies: Sequence[bytes], media_type: str, rate: int) -> list[float]:
        """Seconds from the due time of each post to its response, including a late start."""
        pairs = [await asyncio.open_connection("127.0.0.1", self._service.port) for _ in range(CONNECTIONS)]
        idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        for pair in pairs:
            idle.put_nowait(pair)
        began = perf_counter()

        async def one(number: int, body: bytes) -> float:
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - perf_counter()))
            pair = await idle.get()
            await self._post(*pair, body, media_type)
            idle.put_nowait(pair)
            return perf_counter() - due

        latencies = await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))
        for _, writer in pairs:
            writer.close()
            await writer.wait_closed()
        return latencies

    async def for_a_while(self, body: bytes, media_type: str, seconds: float) -> list[TimedResponse]:
        """Post one body repeatedly, regardless of the responses."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._service.port)
        ends, responses = perf_counter() + seconds, []
        while perf_counter() < ends:
            responses.append(await self._post(reader, writer, body, media_type))
        writer.close()
        await writer.wait_closed()
        return responses

    async def _post(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, media_type: str
    ) -> TimedResponse:
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = perf_counter()
        writer.write(head.encode() + body)
        response = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in response:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        else:
            length = next(line for line in response.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
        return TimedResponse(int(response[9:12]), b"\r\nretry-after:" in response, perf_counter() - began)
