"""How long the records of a batch waited between Kafka and their commit. Pure.

The times are Kafka's timestamps: those of the producer. Only the first record of each span is read, so the cost depends
on the number of partitions in a batch, not on the number of records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.aggregator.spans import Span

LATE_SECONDS = 10.0
"""The objective of docs/slo.md: a record is counted within this time."""


class Delay(NamedTuple):
    """Seconds that the oldest record waited, and the number of late records by topic."""

    seconds: float
    late: Mapping[str, int]


def measure(spans: Iterable[Span], now: float) -> Delay | None:
    """The delay of a batch that was committed at `now`, in Unix seconds. None if no record has a timestamp.

    All records of a span are late if its first record is late. A timestamp in the future is a delay of 0.
    """
    longest: float | None = None
    late: dict[str, int] = {}
    for span in spans:
        if not span.records or span.records[0].timestamp < 0:  # Kafka has -1 for an unknown time
            continue
        seconds = max(0.0, now - span.records[0].timestamp / 1_000)
        longest = max(seconds, longest or 0.0)
        if seconds > LATE_SECONDS:
            late[span.partition.topic] = late.get(span.partition.topic, 0) + len(span.records)
    return None if longest is None else Delay(longest, late)
