"""The release calendar as iCalendar (RFC 5545): an event for each close. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from schemas.announcement import REPORT_NAMESPACE
from services.publisher.site.releases import Release

MEDIA_TYPE = "text/calendar; charset=utf-8"
PATH = "/calendar.ics"
_NAME = "Weekly detainer report"
_LINE = 75
"""The greatest number of octets in a line, without its end."""


def icalendar(releases: Sequence[Release]) -> bytes:
    """The calendar. It depends only on the releases: it is the same until the next close.

    The UID of an event depends only on its week. DTSTAMP is the close before the first release, when this calendar
    became the current one.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//weekly detainer report//release calendar//EN"]
    lines += [f"NAME:{_NAME}", f"X-WR-CALNAME:{_NAME}", "REFRESH-INTERVAL;VALUE=DURATION:P1D"]
    for one in releases:
        lines += _event(one, stamp=releases[0].closes_at - (releases[0].week.ends_at - releases[0].week.begins_at))
    return "".join(f"{_folded(line)}\r\n" for line in [*lines, "END:VCALENDAR"]).encode()


def _event(one: Release, stamp: datetime) -> Iterator[str]:
    yield "BEGIN:VEVENT"
    yield f"UID:{uuid.uuid5(REPORT_NAMESPACE, f'calendar/{one.week}')}"
    yield f"DTSTAMP:{_time(stamp)}"
    yield f"DTSTART:{_time(one.closes_at)}"
    yield f"SUMMARY:{_text(f'{_NAME}: week of {one.week}')}"
    yield f"DESCRIPTION:{_text(_description(one))}"
    yield "TRANSP:TRANSPARENT"
    yield "END:VEVENT"


def _description(one: Release) -> str:
    parts = [f"First report of the week from {one.week} to {one.week.last}."]
    if one.revised:
        parts.append(
            f"Scheduled revisions, if a figure has changed: the weeks from {one.revised[-1]} to {one.revised[0]}."
        )
    parts.append("A close waits for evidence and can be later.")
    return "\n".join(parts)


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(text: str) -> str:
    """Escaped as a TEXT value."""
    for character, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(character, escaped)
    return text


def _folded(line: str) -> str:
    """Split into lines of at most 75 octets; continued lines begin with a blank. All content is ASCII."""
    rest = [line[start : start + _LINE - 1] for start in range(_LINE, len(line), _LINE - 1)]
    return "\r\n ".join([line[:_LINE], *rest])
