"""Per-connection timeouts and header limits (slowloris protection). uvicorn has a timeout for idle connections only.

A client that sends its request head byte by byte, or does not read its response, occupies a connection and memory. In
the first case it has not even authenticated. The application decides how long a body may take.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES

from services.runtime import metrics
from services.runtime.connection_limits import AUTHENTICATED, ConnectionLimiter, ConnectionSlot
from services.runtime.lingering_close import LingeringProtocol
from services.runtime.problems import problem

HEAD_SECONDS = 10.0
"""From the start of the connection, or the first byte of a later request, to the end of the request head."""
UNREAD_SECONDS = 300.0
"""How long a response may stay unread after the request is complete, and its last bytes after it is complete."""
REST_SECONDS = 10.0
"""How long the rest of a body may still arrive, to be discarded, after the response."""

HALF_CLOSED: Final = "half_closed"
"""Key in the state of a request: an `asyncio.Event`, set when the client has closed its side of the connection."""

_CLOSE = {"Connection": "close"}


class BoundedProtocol(LingeringProtocol):
    """uvicorn's protocol of one connection, with timeouts and limits. It refuses slow and large request heads."""

    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _unread_end = 0
    _discard_timer: asyncio.TimerHandle | None = None
    _bodies_ended = 0
    _broken = False
    _next_turn: asyncio.Handle | None = None

    def __init__(
        self,
        *arguments: Any,
        limiter: ConnectionLimiter | None = None,
        slot: ConnectionSlot | None = None,
        **named: Any,
    ) -> None:
        """`slot`: the decision of the limiter, if it was made before, at the start of the TLS handshake."""
        super().__init__(*arguments, **named)
        self._limiter = limiter or ConnectionLimiter()
        self._given_slot = slot
        self._half_closed = asyncio.Event()
        self._application = self.app
        self.app = self._call_application

    async def _call_application(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the application. It sees an incomplete body as a disconnect, and may still end its response."""

        async def received() -> Any:
            message = await receive()
            return {"type": "http.disconnect"} if self._broken else message

        scope["state"][AUTHENTICATED] = self._slot.authenticated
        scope["state"][HALF_CLOSED] = self._half_closed
        await self._application(scope, received, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client has connected."""
        super().connection_made(transport)
        self._slot = self._given_slot or self._limiter.enter(self.client[0] if self.client else "")
        if self._slot.is_served:
            self._start_head_timer()
            return
        metrics.CONNECTIONS_REFUSED.inc()
        self.is_unsolicited = True
        if self._slot.is_refused:
            detail = "Too many open connections, in total or from your address without a key; retry later."
            self._refuse(problem(503, "too-many-connections", detail, {**_CLOSE, "Retry-After": "5"}))
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if not self._broken:
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's protocol may return True
        """The client has closed its side. It may still wait for the response."""
        self.ended = True
        self._half_closed.set()
        if self.transport.is_closing():
            return False
        if not self._broken:
            self.conn.receive_data(b"")
            self.handle_events()
        return self._is_responding()

    def handle_events(self) -> None:
        """Parse the received bytes, a limited number of events per turn."""
        self.conn.begin_turn()
        super().handle_events()
        if self.conn.turn_is_over:
            self._lingering.hold(True)
            if self._next_turn is None:
                self._next_turn = self.loop.call_soon(self._continue)
        self._update_timers()

    def _continue(self) -> None:
        self._next_turn = None
        if not self.transport.is_closing() and not self._broken:
            self._lingering.hold(False)
            self.handle_events()

    def _update_timers(self) -> None:
        """Start and stop timers according to the state of the connection."""
        if not self.conn.awaits_head:
            self._stop_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            if self.conn.unread:
                self._start_head_timer()
            elif self.timeout_keep_alive_task is None and self.cycle is not None and self.cycle.response_complete:
                # uvicorn stops its timer on any byte, even on an empty line before a request
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        if self.conn.bodies_ended > self._bodies_ended:
            self._bodies_ended = self.conn.bodies_ended
            self._stop_discard_timer()
            if self._unread_timer is not None and self.cycle.response_started and self._is_responding():
                # from now on the client only has to read
                self._stop_unread_timer()
                self._start_unread_timer()

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.disconnected

    def on_response_complete(self) -> None:
        """The response is complete, possibly before the request is."""
        if self.conn.awaits_body and not self.transport.is_closing():
            self._discard_timer = self.loop.call_later(REST_SECONDS, self.transport.close)
        super().on_response_complete()
        self._start_unread_timer()

    def on_close(self) -> None:
        """The connection is closing, but the client may not read the last bytes."""
        self._start_unread_timer()

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written."""
        super().pause_writing()
        self._start_unread_timer()

    def resume_writing(self) -> None:
        """The client has read again."""
        self._stop_unread_timer()
        super().resume_writing()
        if self.cycle is None or self.cycle.response_complete or self.transport.is_closing():
            self._start_unread_timer()

    def shutdown(self) -> None:
        """The process is shutting down."""
        if not self.transport.is_closing():
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._slot.leave()
        self._stop_head_timer()
        self._stop_unread_timer()
        self._stop_discard_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's text is for logs
        """Refuse a malformed or unsupported request."""
        fault = self.conn.fault
        allow = {"Allow": "GET, HEAD, POST"} if fault.status == 405 else {}
        self._refuse(problem(fault.status, fault.code, fault.detail, _CLOSE | allow))

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._on_slow_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_slow_head(self) -> None:
        if self._is_responding():
            self._start_head_timer()  # the response to an earlier request is not complete yet
            return
        self._head_timer = None
        self._refuse(problem(408, "too-slow", f"Request head not complete within {HEAD_SECONDS:.0f} seconds.", _CLOSE))

    def _start_unread_timer(self) -> None:
        """Start the timer if bytes are unsent. asyncio does not report when the last bytes are sent."""
        if self._unread_timer is None and self.unsent:
            self._unread_end = self.written
            self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self._on_slow_reader)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _on_slow_reader(self) -> None:
        self._unread_timer = None
        if self._is_still_sending():
            self._start_unread_timer()  # the client may read only after it has sent everything
        elif self.written - self.unsent < self._unread_end:
            self.transport.abort()
        else:
            self._start_unread_timer()  # the unsent bytes belong to a later response

    def _is_still_sending(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.more_body and not cycle.response_complete and not self.transport.is_closing()

    def _stop_discard_timer(self) -> None:
        if self._discard_timer is not None:
            self._discard_timer.cancel()
            self._discard_timer = None

    def _refuse(self, response: Response) -> None:
        """Respond instead of the application, then close. If it has started a response, let the application end it."""
        if self.transport.is_closing() or self._broken:
            return
        if self._is_responding():
            if self.cycle.response_started:
                self._broken, self.cycle.keep_alive = True, False
                self.cycle.message_event.set()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        headers = [*self.server_state.default_headers, *response.raw_headers]
        status = response.status_code
        for event in (
            h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status]),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()
