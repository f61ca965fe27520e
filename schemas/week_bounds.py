"""The bounds of a calendar's weeks as text. Calendars with equal texts assign every instant to the same week.

The zone's name does not guarantee this. The rules of America/New_York come from a database with several releases a
year, and two processes may have different releases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from schemas.week import ReportingCalendar

FIRST, LAST = date(1970, 1, 1), date(2100, 12, 31)
"""Only weeks that begin in this range are compared. No fact is before 2000."""

_WEEK = timedelta(days=7)


@lru_cache(maxsize=8)
def text(calendar: ReportingCalendar) -> str:
    """JSON list of [first day, seconds]: from that day on, weeks begin at this offset from UTC."""
    runs: list[tuple[str, int]] = []
    week = calendar.week_of(datetime.combine(FIRST, time.min, UTC))
    while week.first <= LAST:
        offset = round((datetime.combine(week.first, time.min, UTC) - week.begins_at).total_seconds())
        if not runs or runs[-1][1] != offset:
            runs.append((str(week.first), offset))
        week = calendar.next(week)
    return json.dumps(runs, separators=(",", ":"))


def digest(bounds: str) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(bounds.encode()).hexdigest()


def differing(one: str, other: str) -> list[date]:
    """The first days of the weeks whose bounds differ between the two texts."""
    here, there = dict(_offsets(one)), dict(_offsets(other))
    moved = {day for day in here.keys() | there.keys() if here.get(day) != there.get(day)}
    return sorted(moved | {day - _WEEK for day in moved if day - _WEEK in here})


def _offsets(bounds: str) -> Iterator[tuple[date, int]]:
    runs = [(date.fromisoformat(day), offset) for day, offset in json.loads(bounds)]
    for number, (day, offset) in enumerate(runs):
        until = runs[number + 1][0] if number + 1 < len(runs) else LAST + timedelta(days=1)
        while day < until:
            yield day, offset
            day += _WEEK  # noqa: PLW2901  # the next week with this offset
