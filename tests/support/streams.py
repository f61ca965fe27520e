"""Streams of lines over a bare connection, which can send, read or disconnect at any time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiokafka import ConsumerRecord

from deploy.local.service import Service
from schemas.log import Partition, RecordAddress
from tests.support import events, kafka_log
from tests.support.agencies import LAS_VEGAS, key_of

LINES = "application/x-ndjson"


class Stream:
    """One POST of `application/x-ndjson` in chunks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.complete = False
        """Whether the response has ended, with or without a summary."""

    @classmethod
    async def open(cls, service: Service, key: str = key_of(LAS_VEGAS), content_type: str = LINES) -> Stream:
        """Connect and send the head."""
        stream = cls(*await asyncio.open_connection("127.0.0.1", service.port))
        stream._writer.write(
            f"POST /v1/events HTTP/1.1\r\nHost: ingest\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        return stream

    async def send(self, data: bytes) -> None:
        """Send one chunk of the body. Waits while the server does not read."""
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> None:
        """The end of the body."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def status(self) -> int:
        """Read the response head."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the lines of the response until its end or until the connection is lost."""
        rest = b""
        try:
            while size := int(await self._reader.readline() or b"0", 16):
                rest += (await self._reader.readexactly(size + 2))[:-2]
                *whole, rest = rest.split(b"\n")
                for line in whole:
                    yield json.loads(line)
            self.complete = not rest and not self._reader.at_eof()
        except (asyncio.IncompleteReadError, ConnectionError):
            return


def lines(numbers: Iterable[int]) -> bytes:
    """A line for each number."""
    return b"".join(value(number) + b"\n" for number in numbers)


def value(number: int) -> bytes:
    """The event of a number, as it appears on its line."""
    return events.encoded(events.envelope("issued", events.issued(number), id=f"event/{number}"))


def address_of(receipt: dict[str, Any]) -> RecordAddress:
    """The address in a receipt."""
    return RecordAddress(Partition(receipt["topic"], receipt["partition"]), receipt["offset"])


async def log_since(bootstrap: str, start: Mapping[Partition, int]) -> dict[RecordAddress, ConsumerRecord[Any, Any]]:
    """All records from these offsets on, by address."""
    return {
        RecordAddress(partition, record.offset): record
        for partition, first in start.items()
        for record in await kafka_log.read(bootstrap, partition.topic, partition.number, first)
    }
