"""How many events an agency may send: a limit for each, looked at before a body is read and along a stream.

How many events a body has is known only when it has been read, so an agency goes into debt with one that is too large,
and waits until the debt is paid. A limit that refused what is too large could not hold back large batches. A stream is
cut into what there is room for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from services.runtime.agencies import Agency

_BURST_SECONDS = 10


class Rates:
    """A bucket for each agency in this process: filled at its rate, up to ten seconds' worth."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._taken: dict[str, tuple[float, float]] = {}

    def wait(self, agency: Agency) -> int:
        """Seconds until the agency may send again; 0 when it may now."""
        rate = agency.events_per_second
        if rate is None:
            return 0
        over = -self._left(agency.name, rate)
        return 0 if over < 0 else max(1, math.ceil(over / rate))

    def room(self, agency: Agency, most: int) -> int:
        """How many events the agency may send now without debt, up to `most`; 0 when it must wait."""
        rate = agency.events_per_second
        if rate is None:
            return most
        return max(0, min(most, math.ceil(self._left(agency.name, rate))))

    def took(self, agency: Agency, events: int) -> None:
        """Count events that were read."""
        rate = agency.events_per_second
        if rate is not None:
            self._taken[agency.name] = (self._outstanding(agency.name, rate) + events, self._monotonic())

    def _left(self, name: str, rate: int) -> float:
        """What may still be sent now; below zero is debt."""
        return rate * _BURST_SECONDS - self._outstanding(name, rate)

    def _outstanding(self, name: str, rate: int) -> float:
        """Events taken that time has not yet made up for."""
        taken, at = self._taken.get(name, (0.0, 0.0))
        return max(0.0, taken - (self._monotonic() - at) * rate)
