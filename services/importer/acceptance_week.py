"""Profile `acceptance-week`: a small file of figures per jurisdiction, expanded to the events that make them.

Deterministic: the same file, agency and data set give the same events, byte for byte. Besides the events that the file
counts, each of the first ten jurisdictions gets four that must not count: one issued and one declined a second before
the week begins, and one of each at the very instant it ends. The first jurisdiction has events at the first instant and
in the last microsecond of the week. Declines are of detainers issued up to three years before.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from schemas.week import NotAWeekError, ReportingCalendar, ReportingWeek
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


def count_rows(path: Path) -> int:
    """How many rows `read` will give. Raises NotThisFileError as it does."""
    return len(_figures(path))


def header_note(path: Path) -> str:
    """The file's own words on what its figures are: the comment on top, as one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


def read(path: Path, agency: str, dataset: str, zone: ZoneInfo) -> Iterator[Row]:
    """One row for each event. The week is named in the file's name, such as 2017-01-28.csv.

    Raises NotThisFileError for another kind of file.
    """
    week = _week(path, zone)
    rng = random.Random(f"{agency}/{dataset}/{week}")  # noqa: S311  # invents details, keeps no secret
    events = (event for number, row in enumerate(_figures(path)) for event in _expand(number, row, week, rng))
    namespace = uuid5(uuid5(NAMESPACE_URL, agency), dataset)
    for number, (kind, data) in enumerate(events, start=1):
        identified = {"detainer_id": str(uuid5(namespace, str(number))), "version": 1, **data}
        yield Row(number, (Event("declined" if kind == "declined" else "issued", identified),), None)


def _figures(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(line for line in file if not line.startswith("#"))
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise NotThisFileError(f"the first line below the comment must be: {', '.join(COLUMNS)}")
        rows = list(reader)
    for line, row in enumerate(rows, start=1):
        if not (row["issued"] or "").isdecimal() or not (row["declined"] or "").isdecimal():
            raise NotThisFileError(f"row {line}: issued and declined must be whole numbers")
    return rows


def _week(path: Path, zone: ZoneInfo) -> ReportingWeek:
    match = _WEEK.search(path.name)
    if match is None:
        raise NotThisFileError("the file's name must hold the week's first day, such as 2017-01-28.csv")
    try:
        return ReportingCalendar(zone).week(date.fromisoformat(match[1]))
    except (NotAWeekError, ValueError) as error:
        raise NotThisFileError(str(error)) from error


Data = tuple[str, dict[str, object]]


def _expand(number: int, row: dict[str, str], week: ReportingWeek, rng: random.Random) -> Iterator[Data]:
    """The events of one jurisdiction, the outsiders after those that count."""
    edges = [week.begins_at, week.ends_at - _MICROSECOND] if number == 0 else []
    for instant in _instants(int(row["issued"]), week, edges, rng):
        yield _issued(row, instant, rng)
    for instant in _instants(int(row["declined"]), week, edges, rng):
        yield _declined(row, instant, rng)
    if number < _WITH_OUTSIDERS:
        for instant in (week.begins_at - _SECOND, week.ends_at):
            yield _issued(row, instant, rng)
            yield _declined(row, instant, rng)


def _instants(count: int, week: ReportingWeek, edges: Sequence[datetime], rng: random.Random) -> Iterator[datetime]:
    for index in range(count):
        inside = week.begins_at + _SECOND * rng.randrange(week.hours * 3600)
        yield edges[index] if index < len(edges) else inside


def _issued(row: dict[str, str], issued_at: datetime, rng: random.Random) -> Data:
    return "issued", _custody(row) | {
        "issued_at": _text(issued_at),
        "form": "I-247D",
        "citizenship": _pick(_CITIZENSHIPS, rng),
        "offenses": _some_offenses(rng),
    }


def _declined(row: dict[str, str], recorded_at: datetime, rng: random.Random) -> Data:
    declined_at = recorded_at - timedelta(hours=rng.randrange(96))
    waited = timedelta(days=rng.randrange(20) if rng.random() < 0.7 else rng.randrange(20, 3 * 365))
    data = _custody(row) | {
        "issued_at": _text(declined_at - waited),
        "declined_at": _text(declined_at),
        "recorded_at": _text(recorded_at),
        "form": "I-247D",
        "reason": _pick(_REASONS, rng),
        "citizenship": _pick(_CITIZENSHIPS, rng),
    }
    return "declined", data if rng.random() < 0.03 else data | {"offenses": _some_offenses(rng)}


def _custody(row: dict[str, str]) -> dict[str, object]:
    return {"jurisdiction": row["geoid"], "operator": row["operator"]}


def _some_offenses(rng: random.Random) -> list[dict[str, str]]:
    categories = sorted({_pick(_OFFENSES, rng) for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 3)))})
    return [{"category": code, "basis": rng.choice(("charged", "convicted"))} for code in categories]


def _pick(weights: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
