"""What every table format offers: named sheets of numbered rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

Cell = str | float | date | None
"""Text as stored, a number, a date, or None for an empty cell. A spreadsheet stores a date as a number of days."""

EPOCH_1900 = date(1899, 12, 30)
"""Day 0 of the usual date system of spreadsheets."""
EPOCH_1904 = date(1904, 1, 1)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A row of `found` cells where the header has `expected`, so that no cell can be assigned to its column."""

    found: int
    expected: int


NumberedRow = tuple[int, list[Cell] | Misfit]
"""The row's number as a spreadsheet program shows it, and its cells. Empty rows are left out but numbered."""


class Sheet(Protocol):
    """One sheet of a file. Each call reads the file from its beginning."""

    @property
    def name(self) -> str:
        """The sheet's name; empty where the format has no sheets."""

    @property
    def epoch(self) -> date:
        """Day 0 of numbers that are dates."""

    def head(self, limit: int) -> list[NumberedRow]:
        """The first rows that are not empty, at most `limit`, with all their cells."""

    def rows(self, after: int, columns: Sequence[int]) -> Iterator[NumberedRow]:
        """The rows below row `after`, each with the cells of these columns (0-based), in this order."""
