"""The result of every profile: rows, each with its events or the reason for its rejection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["issued", "declined"]


class NotThisFileError(ValueError):
    """The profile cannot read this file. The message says what is wrong and what is expected."""


@dataclass(frozen=True, slots=True)
class Event:
    """The `data` of one event, without its envelope."""

    kind: Kind
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row (1-based, without the header) gives no event. `detail` contains only names of places and columns."""

    row: int
    field: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Which detainer a row is. A profile whose rows are the same detainers in several files gives one.

    `full` is the key's digest, `loose` the digest of the key without identifier but with the attributes that a later
    release does not change. `ordinal` counts rows with the same full key from 0.
    """

    detainer_id: str
    full: bytes
    loose: bytes
    ordinal: int


@dataclass(frozen=True, slots=True)
class Row:
    """One data row: events, or a complete CloudEvent (`whole`) that is sent unchanged, or a reject.

    `part` names the row's part of the file, such as a sheet, and `line` its number there. The summary counts the
    `marks` of accepted rows. `carried` are facts of the row that an earlier release has already sent; they are not sent
    again.
    """

    number: int
    events: tuple[Event, ...]
    reject: Reject | None
    whole: bytes | None = None
    part: str = ""
    line: int = 0
    marks: tuple[str, ...] = ()
    identity: Identity | None = None
    carried: tuple[Event, ...] = ()

    @property
    def location(self) -> str:
        """The sheet and the row's number in a spreadsheet program, as the beginning of a sentence; may be empty."""
        return f"{self.part}, row {self.line}: " if self.line else ""
