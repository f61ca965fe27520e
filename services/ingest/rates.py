"""How many events an agency may send: a limit for each, looked at before a body is read.

How many events a body has is known only when it has been read, so an agency goes into debt with one that is too large,
and waits until the debt is paid. A limit that refused what is too large could not hold back large batches.
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
        over = self._outstanding(agency.name, rate) - rate * _BURST_SECONDS
        return 0 if over < 0 else max(1, math.ceil(over / rate))

    def took(self, agency: Agency, events: int) -> None:
        """Count events that were answered."""
        rate = agency.events_per_second
        if rate is not None:
            self._taken[agency.name] = (self._outstanding(agency.name, rate) + events, self._monotonic())

    def _outstanding(self, name: str, rate: int) -> float:
        """Events taken that time has not yet made up for."""
        taken, at = self._taken.get(name, (0.0, 0.0))
        return max(0.0, taken - (self._monotonic() - at) * rate)
