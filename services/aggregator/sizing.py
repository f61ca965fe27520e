"""How many records one batch may hold: pure.

A batch that takes longer than a transaction may is rolled back and comes again; as it was, it would fail for ever.
"""

from __future__ import annotations


class BatchSize:
    """Halved when a batch was too slow, grown by an eighth when one of about that size was quick.

    It outlives sessions.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most

    def too_slow(self, records: int) -> None:
        """A batch of so many did not come to its end in time."""
        self.limit = max(1, min(self.limit, records) // 2)

    def committed(self, records: int, quick: bool) -> None:
        """A batch is written. Only one that was more than half full says that a larger one may go well too."""
        if quick and 2 * records > self.limit:
            self.limit = min(self._most, self.limit + max(1, self.limit // 8))
