"""The encrypted side of a connection: a transport that encrypts and writes."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any


class TlsTransport(asyncio.Transport):
    """Encrypts into the TCP connection `raw` at once, so that the buffer of `raw` contains all unsent bytes.

    asyncio's own TLS transport has no half-close, which a lingering close needs, and hides the bytes that `raw` has not
    sent, which the time limit for readers needs.
    """

    def __init__(self, raw: asyncio.Transport, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> None:
        super().__init__()
        self._raw = raw
        self._tls = tls
        self._outgoing = outgoing
        self.written = 0
        """Bytes that were written to the TCP connection."""
        self.is_shut_down = False
        """Whether the end of the encrypted data was sent. Received data are not decrypted any more."""

    def flush(self) -> None:
        """Write what OpenSSL has produced."""
        if self._outgoing.pending and not self._raw.is_closing():
            data = self._outgoing.read()
            self.written += len(data)
            self._raw.write(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and write. There is no renegotiation, so OpenSSL never has to read first."""
        if not data or self.is_shut_down:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:  # the client has broken the protocol
            self._raw.abort()
            return
        self.flush()

    def shut_down(self) -> None:
        """Send the end of the encrypted data (close_notify), once."""
        if self.is_shut_down:
            return
        self.is_shut_down = True
        with suppress(ssl.SSLError):  # sent; the client's own end, or other data, may come later and are not awaited
            self._tls.unwrap()
        self.flush()

    def write_eof(self) -> None:
        """Send the end, and close the sending side of the TCP connection."""
        self.shut_down()
        self._raw.write_eof()

    def can_write_eof(self) -> bool:
        """Whether `write_eof` exists."""
        return True

    def close(self) -> None:
        """Send the end after all other bytes, then close."""
        if not self._raw.is_closing():
            self.shut_down()
        self._raw.close()

    def abort(self) -> None:
        """Close at once. Unsent bytes are lost."""
        self._raw.abort()

    def is_closing(self) -> bool:
        """Whether the connection is closing."""
        return self._raw.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the TCP connection, and `ssl_object` and `sslcontext`."""
        if name == "ssl_object":
            return self._tls
        return self._tls.context if name == "sslcontext" else self._raw.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Stop reading from the TCP connection."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Unsent bytes."""
        return self._raw.get_write_buffer_size()
