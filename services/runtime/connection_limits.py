"""Limits on the number of open connections: in total, and of clients that have not authenticated. Pure.

Connections that have not authenticated may take half of the slots, and one address a part of these. The other half
stays free for authenticated clients.
"""

from __future__ import annotations

from collections import Counter

AUTHENTICATED = "ddor.authenticated"
"""Key in an ASGI scope's `state`: a function that an application calls once it has authenticated the client."""
TOTAL = 1_024
PER_ADDRESS = 256
REFUSALS = 64
"""Additional connections that are kept open to send a 503 response. Connections above this number are aborted."""


class ConnectionLimiter:
    """Counts the connections of one server."""

    def __init__(self, total: int = TOTAL, per_address: int = PER_ADDRESS) -> None:
        """`total`: open connections. `per_address`: connections of one address that have not authenticated."""
        self._total = total
        self._max_anonymous = max(1, total // 2)
        self._per_address = per_address
        self._open = 0
        self._anonymous = 0
        self._refusals = 0
        self._addresses: Counter[str] = Counter()

    def enter(self, address: str) -> ConnectionSlot:
        """Count a new connection. The slot reports whether to serve it, refuse it with a response, or abort it."""
        if (
            self._open < self._total
            and self._anonymous < self._max_anonymous
            and self._addresses[address] < self._per_address
        ):
            self._open += 1
            self._anonymous += 1
            self._addresses[address] += 1
            return ConnectionSlot(self, address, is_served=True)
        if self._refusals < REFUSALS:
            self._refusals += 1
            return ConnectionSlot(self, address, is_refused=True)
        return ConnectionSlot(self, address)

    def authenticated(self, address: str) -> None:
        """A connection from this address has authenticated."""
        self._anonymous -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def left(self, *, refused: bool) -> None:
        """A connection has ended."""
        if refused:
            self._refusals -= 1
        else:
            self._open -= 1


class ConnectionSlot:
    """The decision on one connection: `is_served`, `is_refused` (with a response), or neither (abort it)."""

    def __init__(
        self, limiter: ConnectionLimiter, address: str, *, is_served: bool = False, is_refused: bool = False
    ) -> None:
        self._limiter = limiter
        self._address = address
        self._anonymous = is_served
        self.is_served = is_served
        self.is_refused = is_refused

    def authenticated(self) -> None:
        """The client has authenticated. Later calls have no effect."""
        if self._anonymous:
            self._anonymous = False
            self._limiter.authenticated(self._address)

    def leave(self) -> None:
        """The connection has ended. Later calls have no effect."""
        self.authenticated()
        if self.is_served or self.is_refused:
            self._limiter.left(refused=self.is_refused)
        self.is_served = self.is_refused = False
