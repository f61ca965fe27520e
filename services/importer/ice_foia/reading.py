"""The released file, row by row: each data row gives its events or one reject.

The file has no identifiers, and many rows repeat another exactly, yet are different detainers. So an identity
is made of agency, data set and row number: importing the same file again repeats the same identities.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import TextIO
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

from services.importer.ice_foia.resolving import Unresolved, resolve
from services.importer.rows import Event, NotThisFileError, Reject, Row

COLUMNS = (
    "Prepare Date",
    "Detainer Type",
    "Detainer Detention Facility",
    "State",
    "City",
    "Detainer Lift Reason",
)
DECLINED = "Detainer Declined by LEA"
# Closed on purpose: a new or misspelt reason might mean 'declined' and must not pass as 'not declined'.
LIFT_REASONS = frozenset(
    {
        "",
        DECLINED,
        "Alien Not Subject to Deportation",
        "Booked into Detention",
        "Case Closed",
        "Died",
        "Early Release",
        "Lifted",
        "Lifted - Lack of Funds",
        "Lifted - Lack of Space",
        "Prosecutorial Discretion",
        "Transferred",
        "United States Citizen Interviewed",
    }
)
_TYPE = re.compile(r"I247([ADNX]?) - ")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_GZIP_MAGIC = b"\x1f\x8b"
# No detainer is older; before, time zones had offsets in seconds, which RFC 3339 cannot write.
_FIRST_YEAR = 1970


def count_rows(path: Path) -> int:
    """How many rows `read` will give. Raises NotThisFileError as it does."""
    with _opened(path) as lines:
        return sum(1 for _ in _records(lines))


def read(path: Path, agency: str, dataset: str, zone: ZoneInfo) -> Iterator[Row]:
    """All rows of the file, plain or gzipped, in order; a bad row is a reject and ends nothing.

    Raises NotThisFileError for another kind of file or a damaged one, OSError for one that cannot be read.
    """
    namespace = uuid5(NAMESPACE_URL, agency)
    with _opened(path) as lines:
        for number, cells in enumerate(_records(lines), 1):
            yield _row(number, cells, uuid5(namespace, f"{dataset}/{number}"), zone)


def _row(number: int, cells: list[str], identity: UUID, zone: ZoneInfo) -> Row:
    def rejected(field: str, reason: str, detail: str) -> Row:
        return Row(number, (), Reject(number, field, reason, detail))

    if len(cells) != len(COLUMNS):
        missing = COLUMNS[len(cells)] if len(cells) < len(COLUMNS) else ""
        return rejected(missing, "wrong-columns", f"{len(cells)} columns, not {len(COLUMNS)}")
    prepared, kind, facility, state, city, lifted = (cell.strip() for cell in cells)
    if (noon := _noon(prepared, zone)) is None:
        return rejected("Prepare Date", "bad-date", "not a date as YYYY-MM-DD")
    if not (form := _TYPE.match(kind)):
        return rejected("Detainer Type", "unknown-type", "no I-247 form that we know")
    if lifted not in LIFT_REASONS:
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
        "issued_at": noon,
        "form": f"I-247{form[1]}",
    }
    return Row(number, _events(data, declined=lifted == DECLINED), None)


def _events(data: dict[str, object], *, declined: bool) -> tuple[Event, ...]:
    """The file gives no date of declining; the day the detainer was prepared is as near as one can say."""
    issued = Event("issued", data)
    if not declined:
        return (issued,)
    noon = data["issued_at"]
    return issued, Event("declined", {**data, "declined_at": noon, "recorded_at": noon})


@lru_cache(maxsize=4096)
def _noon(day: str, zone: ZoneInfo) -> str | None:
    """Noon of the day as RFC 3339, or None. The file has days only, and noon is far from any week's border."""
    if not _DAY.fullmatch(day):
        return None
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        return None
    if parsed.year < _FIRST_YEAR:
        return None
    return datetime.combine(parsed, time(12), zone).isoformat()


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


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The text of a plain or gzipped file. Bytes that are no UTF-8 become signs that no name matches."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
    opener = gzip.open if zipped else open
    with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as lines:
        try:
            yield lines
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise NotThisFileError(f"the compressed file is damaged: {error}") from error
