"""Both ends of a stream of lines: a log and a client that tests can pause."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from schemas.log import Partition
from services.ingest.body.compression import inflator
from services.ingest.intake import Accepted, Judged, Rejected
from services.ingest.receipts import Receipt
from services.ingest.stream import receipt_buffer
from services.ingest.stream.receipt_buffer import DiskBudget, ReceiptBuffer
from services.ingest.stream.response import respond
from services.ingest.stream.windows import WINDOW, WindowContext

PARTITION = Partition("detainer-issued", 0)


def judge(line: int, value: bytes) -> Judged:
    """Lines that begin with 'bad' are rejected."""
    if value.startswith(b"bad"):
        return refused(line, "not-json")
    return Accepted(line, f"e/{line}", PARTITION, b"key", value)


def refused(line: int, code: str) -> Rejected:
    """A line that is rejected with a code."""
    return Rejected(Receipt(line, "rejected", False, None, code, "x"), None)


class Log:
    """Stores windows while `open` is set, and counts the waiting ones."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.windows: list[int] = []
        self.waiting = 0
        self.most = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def begin(self) -> WindowContext:
        """A context with the largest window."""
        return WindowContext(WINDOW, judge, self.store)

    async def store(self, judged: list[Judged]) -> list[Receipt]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self.windows.append(len(judged))
        try:
            await self.open.wait()
            if self.error:
                raise self.error
        finally:
            self.waiting -= 1
        receipts = []
        for one in judged:
            if isinstance(one, Accepted):
                receipts.append(one.stored(len(self.stored)))
                self.stored.append(one.value)
            else:
                receipts.append(one.receipt)
        return receipts


class Client:
    """Sends the pieces in `pieces`, and reads while `reads` is set."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[dict[str, Any]] = []
        self.taken = 0
        self._ended = False

    async def body(self) -> AsyncIterator[bytes]:
        """The pieces that have not been read yet."""
        while not self._ended:
            piece = await self.pieces.get()
            self.taken += 1
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                self._ended = True
            else:
                yield piece

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)

    def put(self, *pieces: bytes | Exception | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = b"".join(message["body"] for message in self.sent[1:])
        assert text == b"" or text.endswith(b"\n")
        return [json.loads(line) for line in text.splitlines()]


def start(client: Client, log: Log, encoding: str = "", limit: int = receipt_buffer.LIMIT_BYTES) -> asyncio.Task[None]:
    receipts, body, rest = ReceiptBuffer(DiskBudget(), limit), client.body(), client.body()
    return asyncio.create_task(respond(body, inflator(encoding), log.begin, receipts, client.send, rest=rest))


async def respond_to(client: Client, log: Log, *pieces: bytes | Exception | None, encoding: str = "") -> None:
    client.put(*pieces)
    await asyncio.wait_for(start(client, log, encoding), 60)


def assert_complete(client: Client) -> None:
    first, *_, last = client.sent
    assert (first["type"], first["status"]) == ("http.response.start", 207)
    assert dict(first["headers"])[b"content-type"] == b"application/x-ndjson"
    assert last == {"type": "http.response.body", "body": b"", "more_body": False}
    assert all(message["more_body"] for message in client.sent[1:-1])
