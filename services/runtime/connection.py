"""One HTTP/1.1 connection: uvicorn's, with a head of bounded size and a close that lets the last answer arrive.

When a server closes a connection that still has bytes coming in, TCP resets it, and the client may lose what it had not
read yet: the receipts of a stream that is cut off, the reason of a refusal. So the end of the answer is told first (a
half close), and what still comes is thrown away until the client ends too, or LINGER_SECONDS have passed. nginx calls
this `lingering_close`.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINGER_SECONDS = 2.0
MAX_HEAD_BYTES = 65_536
"""Of the headers of a request (trailers too), and of what comes without being a whole header."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 23\r\nconnection: close\r\n\r\n"
    b"The head is too large.\n"
)


class Connection(HttpToolsProtocol):
    """What uvicorn makes for each client."""

    _head = 0
    _silent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Stand between uvicorn and its transport."""
        self._outlet = _Outlet(self, transport)
        super().connection_made(cast(asyncio.Transport, self._outlet))

    def data_received(self, data: bytes) -> None:
        """Parse; what comes after the last answer is thrown away."""
        if self._outlet.is_closing():
            return
        self._silent += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD_BYTES or self._silent > MAX_HEAD_BYTES + len(data):
            self._refuse()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = self._silent = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, is whole."""
        self._silent = 0
        self._head += len(name) + len(value)
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._silent = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._outlet.lost()
        super().connection_lost(exc)

    def _refuse(self) -> None:
        if self._outlet.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._outlet.write(_TOO_LARGE)
        self._outlet.close()


class _Outlet:
    """A transport of which `close` waits for the client's end while its request is not read whole."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._deadline: asyncio.TimerHandle | None = None
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more will be answered."""
        return self._deadline is not None or self._transport.is_closing()

    def close(self) -> None:
        """Send what is written, then close; at once where nothing more can come."""
        if self.is_closing():
            return
        cycle = self._connection.cycle
        if cycle is not None and not cycle.more_body:
            self._transport.close()
            return
        self._deadline = self._connection.loop.call_later(LINGER_SECONDS, self._transport.close)
        self._transport.write_eof()
        self._transport.resume_reading()

    def lost(self) -> None:
        """The connection is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
