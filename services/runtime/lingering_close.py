"""A lingering close, which delivers the end of a response to a client that is still sending.

If a server closes a connection while bytes still arrive, TCP resets it, and the client can lose unread data: the
receipts of an interrupted stream, or the reason of a refusal. So this server first sends a half-close and discards
further bytes until the client closes too, sends nothing for LINGER_SECONDS, or MAX_LINGER_SECONDS have passed. nginx
has the same as `lingering_close`.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from services.runtime.h11_connection import ServerConnection
from services.runtime.tls.transport import TlsTransport

LINGER_SECONDS = 2.0
MAX_LINGER_SECONDS = 10.0


class LingeringProtocol(H11Protocol):
    """uvicorn's protocol of one connection. It lingers if the response ends before the request does."""

    conn: ServerConnection
    ended = False
    """Whether the client has closed its side."""
    is_unsolicited = False
    """Whether the last response was sent before any request arrived."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = ServerConnection()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wrap the transport that uvicorn uses."""
        self._lingering = _LingeringTransport(self, transport)
        super().connection_made(cast(asyncio.Transport, self._lingering))

    def on_close(self) -> None:
        """Called when nothing more will be written. Bytes may still be unsent."""

    @property
    def written(self) -> int:
        """Bytes of all responses of this connection, as the transport counts unsent ones: with TLS, encrypted."""
        return self._lingering.written

    @property
    def unsent(self) -> int:
        """Bytes that wait in the write buffer."""
        return int(self._lingering.get_write_buffer_size())

    @property
    def is_still(self) -> bool:
        """Whether no more bytes can arrive that would make TCP reset a closed connection."""
        return self.ended or (self.conn.is_still and not self.is_unsolicited)

    def data_received(self, data: bytes) -> None:
        """Discard bytes that arrive after the last response."""
        if self._lingering.is_closing():
            self._lingering.extend_linger()
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._lingering.lost()
        super().connection_lost(exc)


class _LingeringTransport:
    """A transport with a lingering `close`. It reads while neither uvicorn nor `hold` pauses it."""

    def __init__(self, protocol: LingeringProtocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport
        self._deadline: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._paused = self._held = False
        self._written = 0

    @property
    def written(self) -> int:
        """Bytes that were written."""
        return self._transport.written if isinstance(self._transport, TlsTransport) else self._written

    def write(self, data: bytes) -> None:
        """Write and count the bytes."""
        if data:
            self._written += len(data)
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def pause_reading(self) -> None:
        """Pause on behalf of uvicorn."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume on behalf of uvicorn, unless `hold` is in effect."""
        self._paused = False
        self._resume()

    def hold(self, held: bool) -> None:
        """Pause reading independently of uvicorn, or end that pause."""
        self._held = held
        if held:
            self._transport.pause_reading()
        else:
            self._resume()

    def _resume(self) -> None:
        if not (self._paused or self._held):
            self._transport.resume_reading()

    def is_closing(self) -> bool:
        """Whether no further response will be written."""
        return self._deadline is not None or self._transport.is_closing()

    def close(self) -> None:
        """Send the written bytes, then close: immediately if no more bytes can arrive, else after lingering."""
        if self.is_closing():
            return
        self._protocol.on_close()
        if self._protocol.is_still:
            self._transport.close()
            return
        loop = self._protocol.loop
        self._last = loop.time() + MAX_LINGER_SECONDS
        self._deadline = loop.call_later(LINGER_SECONDS, self._transport.close)
        self._transport.write_eof()
        self._held = self._paused = False
        self._transport.resume_reading()

    def extend_linger(self) -> None:
        """Restart the timeout: the client is still sending."""
        if self._deadline is not None:
            self._deadline.cancel()
            loop = self._protocol.loop
            self._deadline = loop.call_at(min(self._last, loop.time() + LINGER_SECONDS), self._transport.close)

    def lost(self) -> None:
        """Stop the timer."""
        if self._deadline is not None:
            self._deadline.cancel()
