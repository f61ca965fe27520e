"""The head of a request must come in time and be of some size: uvicorn alone would wait for ever, and keep all of it.

A client that sends its head byte by byte costs a connection each, and nobody knows yet who it is.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.runtime.problems import problem

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a later request, to the end of the head."""
MAX_HEAD_BYTES = 65_536

_CLOSE = {"Connection": "close"}


class HeadBoundProtocol(HttpToolsProtocol):
    """uvicorn's protocol of one connection, which refuses heads that take too long or are too large, and ends then."""

    _awaiting_head = True
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client is here."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """More of a head or a body."""
        within_head = self._awaiting_head
        if within_head and self._deadline is None:
            self._wait()
        super().data_received(data)
        if within_head and self._awaiting_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(problem(431, "head-too-large", f"A head has at most {MAX_HEAD_BYTES:,} bytes.", _CLOSE))

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._awaiting_head = False
        self._head_bytes = 0
        self._wait_no_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here; what comes now is the next one's head."""
        self._awaiting_head = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._wait_no_more()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words are for logs
        """What came is no HTTP."""
        self._refuse(problem(400, "bad-request", "The request is not HTTP/1.1 (RFC 9112).", _CLOSE))

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait()  # an earlier request of this connection is still being answered
            return
        self._deadline = None
        self._refuse(problem(408, "too-slow", f"A head must come within {HEAD_SECONDS:.0f} seconds.", _CLOSE))

    def _refuse(self, response: Response) -> None:
        if self.transport.is_closing():
            return
        headers = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
        self.transport.write(STATUS_LINE[response.status_code] + headers + b"\r\n" + bytes(response.body))
        self.transport.close()
