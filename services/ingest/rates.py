"""How many events an agency may send: a limit for each, looked at before a body is read."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from services.runtime.agencies import Agency

_WINDOW_SECONDS = 10


class Rates:
    """Counts events of this process over a sliding window of ten seconds."""

    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def wait(self, agency: Agency) -> int:
        """Seconds until the agency may send again; 0 when it may now."""
        item = _item(agency)
        if item is None or self._limiter.test(item, agency.name):
            return 0
        return max(1, math.ceil(self._limiter.get_window_stats(item, agency.name).reset_time - time.time()))

    def took(self, agency: Agency, events: int) -> None:
        """Count events that were answered."""
        item = _item(agency)
        if item is not None and events:
            self._limiter.hit(item, agency.name, cost=min(events, item.amount))


def _item(agency: Agency) -> RateLimitItemPerSecond | None:
    if agency.events_per_second is None:
        return None
    return RateLimitItemPerSecond(agency.events_per_second * _WINDOW_SECONDS, _WINDOW_SECONDS)
