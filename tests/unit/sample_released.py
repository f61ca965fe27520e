"""Rows of released files as events, for tests of the profile `ice-detainers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from schemas.acceptance import accept
from schemas.week import ReportingCalendar
from services.importer.files import InputFile
from services.importer.ice_detainers import ColumnMapping, read
from services.importer.rows import Row
from services.importer.sending import Envelopes
from tests.support import released_files as files
from tests.support.released_files import truth

CALENDAR = ReportingCalendar(ZoneInfo("America/New_York"))
NOON = "2026-02-11T12:00:00-05:00"


def rows_of(path: Path, given: ColumnMapping | None = None) -> list[Row]:
    """All rows of a file; each of their events is one that the rules accept."""
    found = list(read(InputFile(path), "demo", "set", CALENDAR, given))
    for row in found:
        for line in Envelopes("demo", "set").lines(row):
            accept(line)
    return found


def one(tmp_path: Path, layout: str = "March 2026", **changes: Any) -> Row:
    """The row of one detainer, a CSV file of this layout."""
    (row,) = rows_of(files.csv_file(tmp_path / "one.csv", files.table(layout, [truth(**changes)])))
    return row


def data(row: Row) -> dict[str, object]:
    """The data of its first event, without the identity."""
    assert row.reject is None, row.reject
    return {key: value for key, value in row.events[0].data.items() if key != "detainer_id"}


DATA: dict[str, object] = {
    "version": 1,
    "jurisdiction": "32003",
    "operator": "county",
    "location": "32003",
    "facility": "CLARKNV",
    "issued_at": NOON,
    "form": "I-247A",
    "citizenship": "MEX",
    "offenses": [{"category": "90D", "basis": "convicted"}],
}
