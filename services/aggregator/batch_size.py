"""Adaptive limit on the number of records in a batch. Pure.

A batch that exceeds the transaction timeout is rolled back and read again. At the same size it would fail forever.
"""

from __future__ import annotations


class BatchSize:
    """Halves after a batch that was too slow; grows by an eighth after a quick batch of about that size.

    One instance outlives the worker's sessions.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.limit = maximum

    def too_slow(self, records: int) -> None:
        """A batch with this number of records exceeded the timeout."""
        self.limit = max(1, min(self.limit, records) // 2)

    def committed(self, records: int, quick: bool) -> None:
        """A batch was committed. Only a quick batch of more than half the limit raises the limit."""
        if quick and 2 * records > self.limit:
            self.limit = min(self._maximum, self.limit + max(1, self.limit // 8))
