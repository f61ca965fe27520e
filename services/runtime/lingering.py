"""A close that lets the last answer arrive.

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


class LingeringProtocol(HttpToolsProtocol):
    """uvicorn's protocol of one connection; lingers where the answer ends before the request does."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Stand between uvicorn and its transport."""
        self._outlet = _Outlet(self, transport)
        super().connection_made(cast(asyncio.Transport, self._outlet))

    def on_close(self) -> None:
        """Nothing more will be written; what is written may still have to be sent."""

    @property
    def written(self) -> int:
        """Bytes of all answers of this connection."""
        return self._outlet.written

    @property
    def unsent(self) -> int:
        """Bytes of them that the client has no room for."""
        return int(self._outlet.get_write_buffer_size())

    def data_received(self, data: bytes) -> None:
        """Throw away what comes after the last answer."""
        if not self._outlet.is_closing():
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._outlet.lost()
        super().connection_lost(exc)


class _Outlet:
    """A transport of which `close` waits for the client's end while its request is not read whole."""

    def __init__(self, protocol: LingeringProtocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._deadline: asyncio.TimerHandle | None = None
        self.written = 0

    def write(self, data: bytes) -> None:
        """Send, and count."""
        self.written += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more will be answered."""
        return self._deadline is not None or self._transport.is_closing()

    def close(self) -> None:
        """Send what is written, then close; at once where nothing more can come."""
        if self.is_closing():
            return
        self._protocol.on_close()
        cycle = self._protocol.cycle
        if cycle is not None and not cycle.more_body:
            self._transport.close()
            return
        self._deadline = self._protocol.loop.call_later(LINGER_SECONDS, self._transport.close)
        self._transport.write_eof()
        self._transport.resume_reading()

    def lost(self) -> None:
        """The connection is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
