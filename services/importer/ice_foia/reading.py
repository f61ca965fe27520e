"""Reads the released file: each data row gives its events or one reject.

The file has no identifiers, and many rows are equal although they are different detainers. A detainer's identity
therefore consists of agency, data set and row number: importing the same file again gives the same identities.
"""

import csv
import io
import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import TextIO
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

from schemas.week import ReportingCalendar
from services.importer.facilities.resolving import Unresolved, resolve
from services.importer.files import InputFile
from services.importer.ice_values import FIRST_YEAR, events, form_of, lift_of, noon
from services.importer.rows import NotThisFileError, Reject, Row

COLUMNS = (
    "Prepare Date",
    "Detainer Type",
    "Detainer Detention Facility",
    "State",
    "City",
    "Detainer Lift Reason",
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read(file: InputFile, agency: str, dataset: str, calendar: ReportingCalendar) -> Iterator[Row]:
    """All rows of the file, in order. An invalid row becomes a reject.

    Raises NotThisFileError for another kind of file or a damaged one, and OSError if it cannot be read.
    """
    namespace = uuid5(NAMESPACE_URL, agency)
    with file.open() as content:
        # Invalid UTF-8 becomes replacement characters, which no name contains.
        lines = io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace", newline="")
        for number, cells in enumerate(_records(lines), 1):
            yield _row(number, cells, uuid5(namespace, f"{dataset}/{number}"), calendar.zone)


def _row(number: int, cells: list[str], identity: UUID, zone: ZoneInfo) -> Row:
    def rejected(field: str, reason: str, detail: str) -> Row:
        return Row(number, (), Reject(number, field, reason, detail))

    if len(cells) != len(COLUMNS):
        missing = COLUMNS[len(cells)] if len(cells) < len(COLUMNS) else ""
        return rejected(missing, "wrong-columns", f"{len(cells)} columns, not {len(COLUMNS)}")
    prepared, kind, facility, state, city, lifted = (cell.strip() for cell in cells)
    if (issued_at := _noon(prepared, zone)) is None:
        return rejected("Prepare Date", "bad-date", "not a date as YYYY-MM-DD")
    if not (form := form_of(kind)):
        return rejected("Detainer Type", "unknown-type", "not a known form I-247")
    if (lift := lift_of(lifted)) is None:
        return rejected("Detainer Lift Reason", "unknown-lift-reason", "not one of the released list's reasons")
    found = resolve(facility, state, city)
    if isinstance(found, Unresolved):
        field = "State" if found.reason in ("no-state", "unknown-state") else "Detainer Detention Facility"
        return rejected(field, found.reason, found.detail)
    data: dict[str, object] = {
        "detainer_id": str(identity),
        "version": 1,
        "jurisdiction": found.code,
        "operator": found.operator.value,
        **({"location": found.location} if found.location else {}),
        "issued_at": issued_at,
        "form": form,
    }
    return Row(number, events(data, lift), None)


@lru_cache(maxsize=4096)
def _noon(day: str, zone: ZoneInfo) -> str | None:
    """Noon of the day as RFC 3339, or None."""
    if not _DAY.fullmatch(day):
        return None
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        return None
    return noon(parsed, zone) if parsed.year >= FIRST_YEAR else None


def _records(lines: TextIO) -> Iterator[list[str]]:
    """The data rows without blank lines, after checking the header."""
    reader = csv.reader(lines)
    try:
        header = next(reader, [])
        if [cell.strip() for cell in header] != list(COLUMNS):
            raise NotThisFileError(f"the first line must be: {', '.join(COLUMNS)}")
        yield from filter(None, reader)
    except csv.Error as error:
        raise NotThisFileError(f"line {reader.line_num}: {error}") from error
