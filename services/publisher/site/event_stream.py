"""Server-sent events (WHATWG HTML, section 9.2): the text of the events, and the response that sends them.

A position is the offset of a record on `report-ready`: the stream continues after it. It is also the `id:` of that
record's event, so a client that reconnects with `Last-Event-ID` gets each later event once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.runtime.connection_timeouts import HALF_CLOSED

BEGINNING: Final = -1
"""The position before all records."""
RETRY_SECONDS = 5
"""How long a client waits before it reconnects."""
PIECE_BYTES = 65_536
"""The maximum size of one write. A stream whose client does not read buffers about two of them."""
HEARTBEAT: Final = b":\n\n"
"""A comment. Proxies close a connection without traffic, often after 60 seconds."""
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx sends each event at once
    "X-Content-Type-Options": "nosniff",
}
_BEGINNING = "beginning"
_offset = re.compile(r"[0-9]{1,18}").fullmatch
_line_end = re.compile(rb"\r\n|\r|\n")


class _Envelope(msgspec.Struct):
    type: str


def position(text: str) -> int | None:
    """The position that a client names: an id of this stream, or None if it is malformed."""
    if text == _BEGINNING:
        return BEGINNING
    return int(text) if _offset(text) else None


def opening(at: int) -> bytes:
    """The start of a stream. Its id is the position, so a client can resume before it has got an event."""
    return b"retry: %d\nid: %s\n\n" % (RETRY_SECONDS * 1000, _id(at))


def event(offset: int, value: bytes) -> bytes:
    """The event of a message on `report-ready`. Its data are the bytes of the message.

    A message of the publisher is one line. If it has more lines, each is a line of data, as the format requires.
    """
    name = _line_end.sub(b" ", msgspec.json.decode(value, type=_Envelope).type.encode())
    data = b"".join(b"data: %s\n" % line for line in _line_end.split(value))
    return b"id: %s\nevent: %s\n%s\n" % (_id(offset), name, data)


def pieces(text: bytes) -> Iterator[bytes]:
    """The text in pieces of at most PIECE_BYTES."""
    for start in range(0, len(text), PIECE_BYTES):
        yield text[start : start + PIECE_BYTES]


def _id(at: int) -> bytes:
    return (_BEGINNING if at == BEGINNING else str(at)).encode()


class EventStream(Response):
    """A response without an end. It ends when the client disconnects, or at once when the process stops.

    A client that has closed only its side could still read, but no client of an endless response does that. Otherwise
    its connection would be noticed as closed only by the next write.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        sent: AsyncGenerator[bytes, None] | None,
        stopping: asyncio.Event,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`sent`: the pieces of the stream; None for a response to HEAD. `ended` is called once, at the end."""
        super().__init__(headers=HEADERS)
        self.headers["Content-Type"] = self.media_type  # without a charset: it is always UTF-8
        del self.headers["Content-Length"]
        self._sent = sent
        self._stopping = stopping
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces. A client that does not read delays the next piece, and nothing is buffered meanwhile."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self._sent is not None:
                await self._race(self._send(self._sent, send), _gone(receive), _closed(scope), self._stopping.wait())
        finally:
            self._ended()
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    async def _race(*parts: Coroutine[Any, Any, object]) -> None:
        """Run until the first part ends, then cancel the others. Raises an error of the first."""
        tasks = [asyncio.create_task(one) for one in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(failed := results[0], Exception):
            raise failed

    @staticmethod
    async def _send(pieces: AsyncGenerator[bytes, None], send: Send) -> None:
        async with aclosing(pieces) as sent:
            async for piece in sent:
                await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _closed(scope: Scope) -> None:
    """Wait until the client has closed its side; without end if the server does not report it."""
    await scope.get("state", {}).get(HALF_CLOSED, asyncio.Event()).wait()


async def _gone(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
