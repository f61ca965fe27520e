"""Profile `acceptance-week`: a small file of figures per jurisdiction, expanded to the events that give these figures.

The result is deterministic: the same file, agency and data set give the same events, byte for byte. Each declined
detainer was issued up to three years earlier, and that event is included. In addition, each of the first ten
jurisdictions gets events that must not count: one issued and one declined a second before the week begins, and one of
each at the instant when it ends. The first jurisdiction has events at the first instant and in the last microsecond of
the week.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from schemas.week import NotAWeekError, ReportingCalendar, ReportingWeek
from services.importer.files import InputFile
from services.importer.rows import Event, NotThisFileError, Row

COLUMNS = ("geoid", "name", "state", "operator", "issued", "declined", "source")
_WEEK = re.compile(r"(\d{4}-\d{2}-\d{2})")
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_WITH_OUTSIDERS = 10

_OFFENSES = {
    "90D": 30, "13B": 16, "35A": 14, "13A": 10, "220": 5, "23H": 5, "520": 4, "240": 3, "11D": 3, "120": 3, "90Z": 12,
    "09A": 2, "11A": 2,
}  # fmt: skip
_CITIZENSHIPS = {"MEX": 66, "GTM": 10, "HND": 8, "SLV": 7, "DOM": 2, "COL": 1, "JAM": 1, "VNM": 1, "BRA": 1, "CUB": 1}
_REASONS = {"policy": 60, "no-judicial-warrant": 20, "offense-not-covered": 8, "released-on-bail": 6, "not-stated": 6}


def header_note(path: Path) -> str:
    """The comment at the top of the file, which describes its figures, as one line."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


def read(file: InputFile, agency: str, dataset: str, calendar: ReportingCalendar) -> Iterator[Row]:
    """One row for each event. The file's name contains the first day of the week, such as 2017-01-28.csv.

    Raises NotThisFileError for another kind of file, or if `calendar` has no such week.
    """
    week = _week(file.path, calendar)
    rng = random.Random(f"{agency}/{dataset}/{week}")  # noqa: S311  # for invented details, not for secrets
    events = (event for number, row in enumerate(_figures(file)) for event in _expand(number, row, week, rng))
    namespace = uuid5(uuid5(NAMESPACE_URL, agency), dataset)
    for number, (detainer, event) in enumerate(events, start=1):
        identified = {"detainer_id": str(uuid5(namespace, detainer)), "version": 1, **event.data}
        yield Row(number, (Event(event.kind, identified),), None)


def _figures(file: InputFile) -> list[dict[str, str]]:
    with file.open() as content:
        lines = io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace", newline="")
        reader = csv.DictReader(line for line in lines if not line.startswith("#"))
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise NotThisFileError(f"the first line below the comment must be: {', '.join(COLUMNS)}")
        rows = list(reader)
    for line, row in enumerate(rows, start=1):
        if not (row["issued"] or "").isdecimal() or not (row["declined"] or "").isdecimal():
            raise NotThisFileError(f"row {line}: issued and declined must be whole numbers")
    return rows


def _week(path: Path, calendar: ReportingCalendar) -> ReportingWeek:
    match = _WEEK.search(path.name)
    if match is None:
        raise NotThisFileError("the file's name must contain the first day of the week, as in 2017-01-28.csv")
    try:
        return calendar.week(date.fromisoformat(match[1]))
    except (NotAWeekError, ValueError) as error:
        raise NotThisFileError(str(error)) from error


Named = tuple[str, Event]
"""A detainer's name within the file, and one of its events."""


def _expand(number: int, row: dict[str, str], week: ReportingWeek, rng: random.Random) -> Iterator[Named]:
    """The events of one jurisdiction: those that count, the issued events before them, and those outside the week."""
    edges = [week.begins_at, week.ends_at - _MICROSECOND] if number == 0 else []
    outside = [week.begins_at - _SECOND, week.ends_at] if number < _WITH_OUTSIDERS else []
    for index, instant in enumerate(_instants(int(row["issued"]), week, edges, rng)):
        yield f"{row['geoid']}/issued/{index}", _issued(row, instant, rng)
    for index, instant in enumerate([*_instants(int(row["declined"]), week, edges, rng), *outside]):
        name = f"{row['geoid']}/declined/{index}"
        declined = _declined(row, instant, week, rng)
        yield name, declined
        yield name, _issued(row, datetime.fromisoformat(str(declined.data["issued_at"])), rng)
    for index, instant in enumerate(outside):
        yield f"{row['geoid']}/outside/{index}", _issued(row, instant, rng)


def _instants(count: int, week: ReportingWeek, edges: Sequence[datetime], rng: random.Random) -> Iterator[datetime]:
    for index in range(count):
        inside = week.begins_at + _SECOND * rng.randrange(week.hours * 3600)
        yield edges[index] if index < len(edges) else inside


def _issued(row: dict[str, str], issued_at: datetime, rng: random.Random) -> Event:
    details = {
        "issued_at": _text(issued_at),
        "form": "I-247D",
        "citizenship": _pick(_CITIZENSHIPS, rng),
        "offenses": _some_offenses(rng),
    }
    return Event("issued", _custody(row) | details)


def _declined(row: dict[str, str], recorded_at: datetime, week: ReportingWeek, rng: random.Random) -> Event:
    """Declined up to four days before it was recorded, and issued before the week, so that its issue does not count."""
    declined_at = recorded_at - timedelta(hours=rng.randrange(96))
    waited = timedelta(days=rng.randrange(20) if rng.random() < 0.7 else rng.randrange(20, 3 * 365))
    details = {
        "issued_at": _text(min(declined_at, week.begins_at - _SECOND) - waited),
        "declined_at": _text(declined_at),
        "recorded_at": _text(recorded_at),
        "form": "I-247D",
        "reason": _pick(_REASONS, rng),
        "citizenship": _pick(_CITIZENSHIPS, rng),
    }
    known = {} if rng.random() < 0.03 else {"offenses": _some_offenses(rng)}
    return Event("declined", _custody(row) | details | known)


def _custody(row: dict[str, str]) -> dict[str, object]:
    return {"jurisdiction": row["geoid"], "operator": row["operator"]}


def _some_offenses(rng: random.Random) -> list[dict[str, str]]:
    categories = sorted({_pick(_OFFENSES, rng) for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 3)))})
    return [{"category": code, "basis": rng.choice(("charged", "convicted"))} for code in categories]


def _pick(weights: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
