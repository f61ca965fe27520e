"""The receipt of each event, and the summary of a batch or stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

Status = Literal["accepted", "rejected", "unavailable"]


class Receipt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The result of one event. `line` counts from 1. An accepted event has its topic, partition and offset in Kafka."""

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
    """The number of lines with each status. A response with a summary is complete."""

    lines: int = 0
    accepted: int = 0
    rejected: int = 0
    unavailable: int = 0

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Count receipts."""
        counts = Counter([receipt.status for receipt in receipts])
        self.lines += counts.total()
        self.accepted += counts["accepted"]
        self.rejected += counts["rejected"]
        self.unavailable += counts["unavailable"]


encode = msgspec.json.Encoder().encode
"""Encode a receipt or a summary as JSON."""

encode_lines = msgspec.json.Encoder().encode_lines
"""Encode receipts as NDJSON, each with its line break."""
