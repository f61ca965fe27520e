"""h11's parser for one connection, with size limits, refusals, early responses, and fair turns between connections.

uvicorn calls `next_event` for received events and `send` for the bytes of a response.
"""

from __future__ import annotations

from typing import Any, NoReturn

import h11

from services.runtime.request_head import LONG, MAX_TARGET_BYTES, Fault, check_head

MAX_HEAD_BYTES = 65_536
"""Limit for the request line with headers, for trailers, and for incomplete data."""
EVENTS_PER_TURN = 256
"""Number of body parts that are parsed before other connections get their turn. A chunk can be one byte."""

_BAD = Fault(400, "bad-request", "Malformed HTTP/1.1 request (RFC 9112); check proxies between client and server.")
_LARGE = Fault(431, "head-too-large", f"The request head is longer than {MAX_HEAD_BYTES:,} bytes.")
_CODING = Fault(501, "unsupported-transfer-coding", "Transfer-Encoding must be chunked or absent.")
_LINE_BYTES = MAX_TARGET_BYTES + 64
_HEAD_ENDS = (b"\r\n\r\n", b"\n\n", b"\n\r\n")
_CLOSE = (b"connection", b"close")
_CONTINUE = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
_WITHOUT_BODY = (204, 304)


class ServerConnection(h11.Connection):
    """The server side of a connection. After RemoteProtocolError, `fault` is the reason of the refusal."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.fault = _BAD
        self.bodies_ended = 0
        self.turn_is_over = False
        self._left = EVENTS_PER_TURN
        self._head = b""

    @property
    def awaits_head(self) -> bool:
        """Whether the next byte belongs to a request head."""
        return self.their_state is h11.IDLE

    @property
    def awaits_body(self) -> bool:
        """Whether the next byte belongs to the body of the current request."""
        return self.their_state is h11.SEND_BODY

    @property
    def unread(self) -> int:
        """Received bytes that are not parsed yet."""
        return len(self._receive_buffer)

    @property
    def is_still(self) -> bool:
        """Whether the client has sent only complete requests."""
        return not self.unread and self.their_state in (h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    def begin_turn(self) -> None:
        """Reset the number of events for the next turn."""
        self._left = EVENTS_PER_TURN
        self.turn_is_over = False

    def next_event(self) -> Any:
        """The next event for uvicorn. Targets of requests are paths, and Upgrade headers are removed."""
        if self._left <= 0:
            self.turn_is_over = True
            return h11.NEED_DATA
        if self.their_state is h11.MUST_CLOSE:  # ignore bytes after the last request (RFC 9112 9.6)
            self._receive_buffer.maybe_extract_at_most(self.unread)
            return h11.NEED_DATA
        if self.their_state is h11.IDLE and self._head_is_incomplete():
            return h11.NEED_DATA
        before = len(self._receive_buffer)
        try:
            event: Any = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint in (431, 501):
                self.fault = _LARGE if error.error_status_hint == 431 else _CODING
            raise
        kind = type(event)
        if kind is h11.Data:
            self._left -= 1
        elif kind is h11.Request:
            self._check_size(before, event.target)
            return self._checked(event)
        elif kind is h11.EndOfMessage:
            self._check_size(before)
            self.bodies_ended += 1
        elif kind is h11.ConnectionClosed:
            return h11.NEED_DATA  # otherwise uvicorn loops forever
        return event

    def _head_is_incomplete(self) -> bool:
        """Skip empty lines (RFC 9112 2.2), and refuse data that exceed the limit without forming a head."""
        waiting = self._receive_buffer._data  # the public method copies the buffer
        if waiting.startswith(b"\r\n"):
            empty = (len(waiting) - len(waiting.lstrip(b"\r\n"))) // 2 * 2
            self._receive_buffer.maybe_extract_at_most(empty)
        if len(waiting) > MAX_HEAD_BYTES and all(waiting.find(end, 0, MAX_HEAD_BYTES) < 0 for end in _HEAD_ENDS):
            self._refuse(LONG if waiting.find(b"\n", 0, _LINE_BYTES) < 0 else _LARGE)
        return waiting == b"\r" and not self._receive_buffer_closed

    def _checked(self, request: h11.Request) -> h11.Request:
        fields = [(name.lower(), value) for name, value in request.headers.raw_items()]
        path = check_head(request.method, request.target, request.http_version, fields)
        if isinstance(path, Fault):
            self._refuse(path)
        remaining = [field for field in fields if field[0] != b"upgrade"]
        if path == request.target and len(remaining) == len(fields):
            return request
        return h11.Request(method=request.method, target=path, headers=remaining, http_version=request.http_version)

    def _check_size(self, before: int, target: bytes = b"") -> None:
        """Refuse a head or trailers above the limit. `before`: buffered bytes before they were parsed."""
        if before - len(self._receive_buffer) > MAX_HEAD_BYTES:
            self._refuse(LONG if len(target) > MAX_TARGET_BYTES else _LARGE)

    def _refuse(self, fault: Fault) -> NoReturn:
        self.fault = fault
        raise h11.RemoteProtocolError(fault.detail, fault.status)

    def send(self, event: Any) -> Any:
        """The bytes of a response event, None at its end. The head is sent with the first part of the body."""
        kind = type(event)
        if kind is h11.Response:
            return self._send_head(event)
        if kind is h11.InformationalResponse and not self.they_are_waiting_for_100_continue:
            return b""  # the client is already sending the body
        data = super().send(event)
        if self._head and data is not None:
            data, self._head = self._head + data, b""
        return data

    def _send_head(self, event: h11.Response) -> bytes:
        """A complete response before the end of the request closes the connection, with the header for it."""
        complete = self._is_complete(event)
        if self.their_state is h11.SEND_BODY and complete and _CLOSE not in event.headers:
            event = h11.Response(status_code=event.status_code, headers=[*event.headers, _CLOSE], reason=event.reason)
        if complete:
            self._head = super().send(event)
            return b""
        # the body is read during the response: a client that waits for 100 Continue must get it first
        first = super().send(_CONTINUE) or b"" if self.they_are_waiting_for_100_continue else b""
        return first + super().send(event)

    def _is_complete(self, response: h11.Response) -> bool:
        """Whether the response does not depend on the rest of the request. Others are written while it is read."""
        return response.status_code in _WITHOUT_BODY or any(name == b"content-length" for name, _ in response.headers)
