"""Instants as events name them: UTC, to the microsecond, within the years that an event may name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970 of an instant that carries an offset."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The instant, UTC, of microseconds since 1970."""
    return _EPOCH + us * _MICROSECOND
