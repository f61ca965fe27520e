"""The only module that reads the wall clock. Pure functions take `now` as an argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time in UTC."""


def system() -> datetime:
    """The system clock in UTC."""
    return datetime.now(UTC)
