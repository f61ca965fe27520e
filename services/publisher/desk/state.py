"""The status document of `ddor status` and the desk, from rows and the ends of the log. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from schemas.log import Partition, Vector
from schemas.week import NotAWeekError, ReportingCalendar
from services.publisher.closing import WRITTEN, Close, Schedule, State
from services.publisher.desk import waiting
from services.publisher.desk.log_ends import LogEnds
from services.publisher.desk.reading import Tables
from services.publisher.store import states
from services.runtime.agencies import Agency
from services.runtime.settings import Settings

RECORDS = ("records", "duplicates", "rejected")
_NOT_HEARD_WEEKS = 5

Document = dict[str, Any]


def document(tables: Tables, ends: LogEnds | None, now: datetime, settings: Settings) -> Document:
    """The status as JSON values. Without `ends` the lag is unknown (null)."""
    alive = {one["name"] for one in tables.workers if not one["dead"]}
    partitions = [_partition(dict(row), alive, ends) for row in tables.partitions]
    positions = Vector({_key(one): one["next_offset"] for one in partitions})
    halted = {_key(one) for one in partitions if one["halted_reason"]}
    return {
        "at": now.isoformat(timespec="seconds"),
        "current_week": str(settings.calendar.week_of(now)),
        "partitions": partitions,
        "workers": list(tables.workers),
        "publisher": tables.publisher,
        "weeks": [waiting.with_waits(row, positions, ends, halted) for row in tables.weeks],
        "week_states": {state: n for state, n in states(tables.closes).items() if n},
        "next_week": next_week(tables.closes, settings, now),
        "refused": dict(tables.refused),
        "restatements": [waiting.restatement(row, positions) for row in tables.restatements],
        "verifications": list(tables.verifications),
        "audit": tables.audit,
        "oldest_unsent": tables.oldest_unsent,
        "unsent_reports": list(tables.unsent_reports),
        "totals": {**{name: sum(one[name] for one in partitions) for name in RECORDS}, "unsent": tables.unsent},
    }


def _key(row: Mapping[str, Any]) -> Partition:
    return Partition(row["topic"], row["partition"])


def _partition(row: Document, alive: set[str], ends: LogEnds | None) -> Document:
    partition = _key(row)
    return {
        **row,
        "lag": None if ends is None else ends.end.offset_of(partition) - row["next_offset"],
        "without_worker": row["owner"] not in alive,
        "open_transaction_since": ends.blocked.get(partition) if ends else None,
    }


def next_week(closes: Mapping[date, Close], settings: Settings, now: datetime) -> Document | None:
    """The earliest week without a report from DDOR_FIRST_WEEK on: its end, when it is due, and by how much it is late.

    None if DDOR_FIRST_WEEK is not set, or is not the first day of a week.
    """
    if settings.first_week is None:
        return None
    try:
        schedule = Schedule(settings.calendar, settings.first_week, settings.grace, closes)
        week, due = schedule.next_scheduled, schedule.due
    except NotAWeekError:
        return None
    return {
        "week": str(week),
        "state": closes[week.first].state if week.first in closes else State.OPEN,
        "ends_at": _text(week.ends_at),
        "due": _text(due),
        "has_ended": week.ends_at <= now,
        "overdue_seconds": max(0.0, (now - due) / timedelta(seconds=1)),
    }


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(sep=" ", timespec="seconds")


def ended_weeks(state: Mapping[str, Any], calendar: ReportingCalendar, now: datetime) -> list[date]:
    """The first days of weeks that have ended and have no report: their agencies can still send. At most five."""
    names = [one["week"] for one in state["weeks"] if one["state"] not in WRITTEN]
    if state["next_week"] is not None:
        names.append(state["next_week"]["week"])
    weeks = sorted({date.fromisoformat(name) for name in names}, reverse=True)
    return [week for week in weeks if calendar.begin(week + timedelta(days=7)) <= now][:_NOT_HEARD_WEEKS]


def not_heard(
    heard: Mapping[str, set[str]], agencies: Iterable[Agency], calendar: ReportingCalendar
) -> dict[str, list[str]]:
    """For each week, the agencies that may send at any time of it, without a fact or an attestation."""
    found = {}
    listed = list(agencies)
    for name, known in heard.items():
        week = calendar.week(date.fromisoformat(name))
        may = [one.name for one in listed if one.valid_from < week.ends_at and week.begins_at < one.valid_to]
        found[name] = sorted(set(may) - known)
    return found
