"""The one place that reads the wall clock. Cores take `now` as an argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Answers the present instant, in UTC."""


def system() -> datetime:
    """The machine's clock, UTC."""
    return datetime.now(UTC)
