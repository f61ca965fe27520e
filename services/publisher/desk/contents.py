"""What a page of the desk shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Growing:
    """What takes longer to count in a large database, and when it was counted. None: not within the time limit."""

    at: datetime
    rejects: Sequence[Mapping[str, Any]] | None
    open_conflicts: int | None
    not_heard: Mapping[str, Sequence[str]] | None


@dataclass(slots=True)
class Contents:
    """All that a page shows. `state` is the status document, or None without PostgreSQL; `away` has the reasons."""

    now: datetime
    state: dict[str, Any] | None = None
    actions: Sequence[Mapping[str, Any]] = ()
    growing: Growing | None = None
    away: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, float | None] = field(default_factory=dict)
    """By how many seconds this host's clock is ahead of another one; negative: behind; None: unknown."""
    sessions: Mapping[str, str | None] = field(default_factory=dict)
    """The parts of this process, each with its problem or None."""
