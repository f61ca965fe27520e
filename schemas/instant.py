"""Instants of events: UTC, in microseconds, with the range of years that an event may have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
"""The earliest instant of a fact: ingest refuses earlier facts, and no earlier week is closed."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """Convert an aware datetime to microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """Convert microseconds since 1970 to a UTC datetime."""
    return _EPOCH + us * _MICROSECOND
