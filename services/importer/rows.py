"""What every profile gives: rows, each with its events or with the reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class NotThisFileError(ValueError):
    """The file is not of the kind that the profile reads; the message says what was found and what is wanted."""


@dataclass(frozen=True, slots=True)
class Event:
    """The `data` of one event, ready for an envelope; `kind` is its topic's."""

    kind: Literal["issued", "declined"]
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row (1-based, without the header) gives no event. `detail` names only places and columns."""

    row: int
    field: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """One data row: events, or a whole CloudEvent that is sent as it is, or a reject and none."""

    number: int
    events: tuple[Event, ...]
    reject: Reject | None
    whole: bytes | None = None
