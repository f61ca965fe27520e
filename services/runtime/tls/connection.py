"""TLS between a TCP connection and the protocol of its requests.

A connection has a slot of the connection limits from its first moment, before and during the handshake. With asyncio's
own TLS, the protocol would not know of a connection before its handshake is complete, and 60 seconds would pass before
an unfinished one is closed. uvicorn has settings for neither.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.utils import get_remote_addr

from services.runtime import metrics
from services.runtime.connection_limits import ConnectionLimiter, ConnectionSlot
from services.runtime.connection_timeouts import BoundedProtocol
from services.runtime.tls.transport import TlsTransport

HANDSHAKE_SECONDS = 10.0
"""From the start of the connection to the end of the TLS handshake."""
_READ_BYTES = 65_536


class TlsProtocol(asyncio.Protocol):
    """Decrypts the bytes of one connection for a BoundedProtocol, which is created after the handshake."""

    _raw: asyncio.Transport
    _slot: ConnectionSlot
    _tls: ssl.SSLObject
    _transport: TlsTransport
    _timer: asyncio.TimerHandle
    _requests: BoundedProtocol | None = None

    def __init__(self, *, context: Callable[[], ssl.SSLContext], limiter: ConnectionLimiter, **named: Any) -> None:
        """`context` returns the context for a new connection. `named` are uvicorn's arguments for a protocol."""
        self._limiter = limiter
        self._named = named
        self._connections = cast("set[object]", named["server_state"].connections)
        self._context = context
        self._incoming = ssl.MemoryBIO()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._raw = cast(asyncio.Transport, transport)
        client = get_remote_addr(self._raw)
        self._slot = self._limiter.enter(client[0] if client else "")
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._raw.abort)
        if not (self._slot.is_served or self._slot.is_refused):
            metrics.CONNECTIONS_REFUSED.inc()
            self._raw.abort()
            return
        outgoing = ssl.MemoryBIO()
        self._tls = self._context().wrap_bio(self._incoming, outgoing, server_side=True)
        self._transport = TlsTransport(self._raw, self._tls, outgoing)
        self._connections.add(self)  # so that uvicorn calls `shutdown`

    def shutdown(self) -> None:
        """The process is shutting down, and the handshake is not complete."""
        self._raw.abort()

    def data_received(self, data: bytes) -> None:
        """Encrypted bytes. A refused connection (503) is decrypted too, because its response needs the handshake."""
        if self._raw.is_closing():
            return
        if self._requests is not None and self._transport.is_shut_down:
            self._requests.data_received(b"")  # the lingering close only waits for the end of the bytes
            return
        self._incoming.write(data)
        requests = self._requests or self._after_handshake()
        if requests is not None:
            self._decrypt(requests)

    def _after_handshake(self) -> BoundedProtocol | None:
        """Continue the handshake. If it is complete, returns the protocol of the requests."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.flush()
            return None
        except ssl.SSLError:  # not TLS, an old version, or a client that does not trust the certificate
            self._transport.flush()  # the alert with the reason
            self._raw.close()
            return None
        self._transport.flush()
        self._timer.cancel()
        self._connections.discard(self)
        self._requests = BoundedProtocol(slot=self._slot, **self._named)
        self._requests.connection_made(self._transport)
        return self._requests

    def _decrypt(self, requests: BoundedProtocol) -> None:
        pieces: list[bytes] = []
        is_broken = has_ended = False
        try:
            while piece := self._tls.read(_READ_BYTES):
                pieces.append(piece)
            has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            is_broken = True
        self._transport.flush()
        if pieces:
            requests.data_received(b"".join(pieces))
        if is_broken:
            self._raw.abort()
        elif has_ended and not requests.eof_received():
            self._transport.close()

    def eof_received(self) -> bool:
        """The client has closed its side, with or without TLS's own end before it. It may wait for a response."""
        return self._requests is not None and self._requests.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._timer.cancel()
        self._connections.discard(self)
        self._slot.leave()
        if self._requests is not None:
            self._requests.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written."""
        if self._requests is not None:
            self._requests.pause_writing()

    def resume_writing(self) -> None:
        """The client has read again."""
        if self._requests is not None:
            self._requests.resume_writing()
