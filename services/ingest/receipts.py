"""What an agency is told of each event: a receipt, and the sum of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

Status = Literal["accepted", "rejected", "unavailable"]


class Receipt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One event's answer. `line` counts from 1 in the order sent; an accepted event names its place in the log."""

    line: int
    status: Status
    retryable: bool
    id: str | None = None
    code: str | None = None
    detail: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


class Summary(msgspec.Struct):
    """How many lines were answered how. Its presence says that the answer is complete."""

    lines: int = 0
    accepted: int = 0
    rejected: int = 0
    unavailable: int = 0

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Count receipts in."""
        counts = Counter([receipt.status for receipt in receipts])
        self.lines += counts.total()
        self.accepted += counts["accepted"]
        self.rejected += counts["rejected"]
        self.unavailable += counts["unavailable"]


encode = msgspec.json.Encoder().encode
"""A receipt or a summary as JSON."""

encode_lines = msgspec.json.Encoder().encode_lines
"""Receipts as NDJSON, each with its line break."""
