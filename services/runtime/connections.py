"""What a client may keep us waiting for, on one connection: uvicorn alone would wait for ever, and keep any head.

A client that sends its head byte by byte, or leaves its answer unread, costs a connection and what is kept for it; of
the first kind nobody knows yet who it is. How long a body may take is for the application to say.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from services.runtime.lingering import LingeringProtocol
from services.runtime.problems import problem

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a later request, to the end of the head."""
MAX_HEAD_BYTES = 65_536
"""Of a request's headers, its trailers too, and of what comes without being a whole header."""
UNREAD_SECONDS = 300.0
"""How long an answer may wait to be read once the whole request is here, and its last bytes once it is complete."""
REST_SECONDS = 10.0
"""How long the rest of a body may still come, to be thrown away, once its request is answered."""

_CLOSE = {"Connection": "close"}


class BoundedProtocol(LingeringProtocol):
    """uvicorn's protocol of one connection, which refuses heads that take too long or are too large, and ends then."""

    _awaiting_head = True
    _head_bytes = 0
    _nothing_whole_bytes = 0
    _head_due: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _unread_end = 0
    _rest_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client is here."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """More of a head or a body."""
        if self._awaiting_head and self._head_due is None:
            self._await_head()
        self._nothing_whole_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES or self._nothing_whole_bytes > MAX_HEAD_BYTES:
            self._refuse(problem(431, "head-too-large", f"A head has at most {MAX_HEAD_BYTES:,} bytes.", _CLOSE))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_bytes = self._nothing_whole_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is here, or a trailer."""
        self._head_bytes += len(name) + len(value)
        self._nothing_whole_bytes = 0
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._awaiting_head = False
        self._nothing_whole_bytes = 0
        self._head_is_here()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body is here."""
        self._nothing_whole_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; what comes now is the next one's head."""
        self._awaiting_head = True
        self._rest_is_here()
        super().on_message_complete()
        cycle = self.cycle
        if self._unread is not None and cycle.response_started and not cycle.response_complete:
            # from now on the client has nothing else to do than read
            self._reader_is_here()
            self._await_reader()

    def on_response_complete(self) -> None:
        """A request is answered, which may be before it is here: it was refused, or cut off."""
        if self.cycle.response_complete and self.cycle.more_body:
            self._rest_due = self.loop.call_later(REST_SECONDS, self.transport.close)
        super().on_response_complete()
        self._await_reader()

    def on_close(self) -> None:
        """No more is written, but what is may stay unread, and the connection open."""
        self._await_reader()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The client has read."""
        self._reader_is_here()
        super().resume_writing()
        if self.cycle is None or self.cycle.response_complete or self.transport.is_closing():
            self._await_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._head_is_here()
        self._reader_is_here()
        self._rest_is_here()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words are for logs
        """What came is no HTTP."""
        self._refuse(problem(400, "bad-request", "The request is not HTTP/1.1 (RFC 9112).", _CLOSE))

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_here(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_is_late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()  # an earlier request of this connection is still being answered
            return
        self._head_due = None
        self._refuse(problem(408, "too-slow", f"A head must come within {HEAD_SECONDS:.0f} seconds.", _CLOSE))

    def _await_reader(self) -> None:
        """Give what is unsent its time. Nobody tells when the last bytes are sent: they are too few for a pause."""
        if self._unread is None and self.unsent:
            self._unread_end = self.written
            self._unread = self.loop.call_later(UNREAD_SECONDS, self._reader_is_late)

    def _reader_is_here(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _reader_is_late(self) -> None:
        self._unread = None
        if self._is_still_sending():
            self._await_reader()  # it may be one that reads only when it has sent all
        elif self.written - self.unsent < self._unread_end:
            self.transport.abort()
        else:
            self._await_reader()  # those of a later answer

    def _is_still_sending(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.more_body and not cycle.response_complete and not self.transport.is_closing()

    def _rest_is_here(self) -> None:
        if self._rest_due is not None:
            self._rest_due.cancel()
            self._rest_due = None

    def _refuse(self, response: Response) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            headers = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
            self.transport.write(STATUS_LINE[response.status_code] + headers + b"\r\n" + bytes(response.body))
        self.transport.close()
