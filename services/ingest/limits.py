"""Per-agency limits: events per second, and concurrent requests."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.runtime.agencies import Agency

_BURST_SECONDS = 10

AGENCY_SLOTS = 256
ALL_SLOTS = 512
ZSTD_STREAM_SLOTS = 8
"""Slots of a zstd stream. Every other request takes one."""


class RateLimiter:
    """A token bucket for each agency in this process, filled at the agency's rate up to ten seconds' worth.

    The number of events in a body is known only after reading it. So a large body puts the agency in debt, and the
    agency waits until the debt is paid. Refusing such a body would not limit large batches. A stream is divided into
    windows of the size that the bucket allows.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._taken: dict[str, tuple[float, float]] = {}

    def wait(self, agency: Agency) -> int:
        """Seconds until the agency may send again; 0 if it may send now."""
        rate = agency.events_per_second
        if rate is None:
            return 0
        over = -self._left(agency.name, rate)
        return 0 if over < 0 else max(1, math.ceil(over / rate))

    def room(self, agency: Agency, most: int) -> int:
        """How many events the agency may send now without debt, up to `most`; 0 if it must wait."""
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
        """Events that the agency may still send now; negative if it is in debt."""
        return rate * _BURST_SECONDS - self._outstanding(name, rate)

    def _outstanding(self, name: str, rate: int) -> float:
        """Events taken from the bucket and not refilled yet."""
        taken, at = self._taken.get(name, (0.0, 0.0))
        return max(0.0, taken - (self._monotonic() - at) * rate)


class TooManyRequestsError(Exception):
    """Too many requests are open: of this agency, or of all agencies if `everyone` is set."""

    def __init__(self, agency: str, *, everyone: bool) -> None:
        super().__init__(agency)
        self.agency = agency
        self.everyone = everyone


class ConcurrencyLimiter:
    """Slots for open requests, which bound the memory of this process.

    A client can keep open the body of a batch (1 MB, and what the server has read ahead), or a stream (up to 1 MB of
    unread receipts; a zstd stream also has a window of 8 MB). One slot allows for 1.3 MB, all slots for about 700 MB.
    An agency has enough slots for 200 concurrent clients, and no agency can take all of them.
    """

    def __init__(self, agency: int = AGENCY_SLOTS, everyone: int = ALL_SLOTS) -> None:
        self._agency_slots = agency
        self._all_slots = everyone
        self._used: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """Slots in use, of all agencies."""
        return self._used.total()

    @contextmanager
    def acquire(self, agency: str, slots: int = 1) -> Iterator[None]:
        """Take slots until the block ends. Raises TooManyRequestsError."""
        if self._used[agency] + slots > self._agency_slots:
            raise TooManyRequestsError(agency, everyone=False)
        if self.used + slots > self._all_slots:
            raise TooManyRequestsError(agency, everyone=True)
        self._used[agency] += slots
        try:
            yield
        finally:
            self._used[agency] -= slots
