"""How many requests may be open at once: what they hold of memory must not grow with what clients open.

What a client can keep open for long is the body of a batch while it comes (1 MB, and what the server has read ahead),
or a stream (up to 1 MB of unread receipts; of zstd a window of 8 MB and what belongs to it, however little comes). A
place stands for 1.3 MB of that, so all places for some 700 MB. An agency has as many as 200 clients at once need, and
no agency has all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

AGENCY_PLACES = 256
ALL_PLACES = 512
ZSTD_PLACES = 8
"""What a stream in zstd takes; every other request takes one."""


class NoPlaceError(Exception):
    """No more requests may be open now: of the agency, or, with `everyone`, of all."""

    def __init__(self, agency: str, *, everyone: bool) -> None:
        super().__init__(agency)
        self.agency = agency
        self.everyone = everyone


class Places:
    """The places of one process; `used` by all agencies."""

    def __init__(self, agency: int = AGENCY_PLACES, everyone: int = ALL_PLACES) -> None:
        self._most = agency
        self._most_of_all = everyone
        self._used: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """How many are taken now."""
        return self._used.total()

    @contextmanager
    def taken(self, agency: str, places: int = 1) -> Iterator[None]:
        """Take places for as long as the block lasts; NoPlaceError."""
        if self._used[agency] + places > self._most:
            raise NoPlaceError(agency, everyone=False)
        if self.used + places > self._most_of_all:
            raise NoPlaceError(agency, everyone=True)
        self._used[agency] += places
        try:
            yield
        finally:
            self._used[agency] -= places
