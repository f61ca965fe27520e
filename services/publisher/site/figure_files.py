"""The contents of the files of all weeks: a line for each published number. Pure.

A line never changes. Whether a week is provisional or final changes without a report, so it is in no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, timedelta
from typing import Any, Final

from schemas.detainer import Kind
from services.publisher.site import csv_text

FIGURE_COLUMNS: Final = ("week", "revision", "geoid", "kind", "n", "status")
WEEK_COLUMNS: Final = (
    "week", "week_end", "revision", "cause", "published_at", "digest", "issued", "declined", "demonstration",
)  # fmt: skip
COUNTED, UNKNOWN, DEMONSTRATION = "counted", "unknown", "demonstration"
STATUSES: Final[Mapping[str, str]] = {
    COUNTED: "The number was counted from events. It can be 0",
    UNKNOWN: "Unknown: a responsible agency sent neither events nor an attestation, or no agency is responsible",
    DEMONSTRATION: "The number was counted from demonstration data, not from real events",
}
"""The status of a published number, and its meaning."""

_KINDS: Final = tuple(kind.value for kind in Kind)
Row = Mapping[str, Any]


def figures_header() -> bytes:
    """The first line of a file of figures."""
    return csv_text.encode([FIGURE_COLUMNS])


def figures(revision: Row, rows: Iterable[Row]) -> bytes:
    """The lines of one revision, one for each kind. `rows` have geoid, issued and declined; None is unknown."""
    week, number = str(revision["week"]), revision["revision"]
    counted = DEMONSTRATION if revision["demonstration"] else COUNTED
    return csv_text.encode(
        (week, number, row["geoid"], kind, row[kind], UNKNOWN if row[kind] is None else counted)
        for row in rows
        for kind in _KINDS
    )


def weeks_header() -> bytes:
    """The first line of the file of revisions."""
    return csv_text.encode([WEEK_COLUMNS])


def weeks(revisions: Iterable[Row]) -> bytes:
    """A line for each revision. `published_at` is in UTC."""
    return csv_text.encode(
        (
            one["week"],
            one["week"] + timedelta(days=6),
            one["revision"],
            one["cause"],
            one["published_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
            one["digest"],
            one["issued"],
            one["declined"],
            "true" if one["demonstration"] else "false",
        )
        for one in revisions
    )
