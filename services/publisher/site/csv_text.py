"""Rows as CSV (RFC 4180). Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

MEDIA_TYPE = "text/csv; charset=utf-8"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Spreadsheets interpret text that begins with one of these as a formula, or skip it and interpret the rest."""


def encode(rows: Iterable[Iterable[object]]) -> bytes:
    """The rows in UTF-8, each with its line end (CRLF). None is an empty cell; no cell starts a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
