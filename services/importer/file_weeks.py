"""In which weeks the records of a file count. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache

from schemas.week import NotAWeekError, ReportingCalendar
from services.importer.amending import is_withdrawn
from services.importer.rows import Event, Kind, Row

_COUNTED_BY = {"issued": "issued_at", "declined": "recorded_at"}


class FileWeeks:
    """The number of facts in each week, by kind. Withdrawn facts count in none."""

    def __init__(self, calendar: ReportingCalendar) -> None:
        self._calendar = calendar
        self._week_of = lru_cache(maxsize=1 << 14)(self._week)
        self.counts: dict[date, Counter[Kind]] = {}

    def add(self, row: Row) -> None:
        """Add the facts of a row, those that an earlier release has sent included."""
        for event in _whole(row.whole) if row.whole is not None else (*row.events, *row.carried):
            week = None if is_withdrawn(event) else self._week_of(str(event.data.get(_COUNTED_BY[event.kind])))
            if week is not None:
                self.counts.setdefault(week, Counter())[event.kind] += 1

    def _week(self, instant: str) -> date | None:
        try:
            at = datetime.fromisoformat(instant)
            return None if at.tzinfo is None else self._calendar.week_of(at).first
        except (NotAWeekError, ValueError, OverflowError, TypeError):  # a complete CloudEvent may have any text
            return None


def _whole(line: bytes) -> Iterator[Event]:
    """The event of a complete CloudEvent; none if ingest will refuse it."""
    try:
        document = json.loads(line)
        kind, data = document["type"], document["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if isinstance(data, dict):
        if kind == "detainer-issued":
            yield Event("issued", data)
        elif kind == "detainer-declined":
            yield Event("declined", data)
