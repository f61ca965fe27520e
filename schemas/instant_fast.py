"""Fast conversion of instants: three table lookups, no parsing. `schemas.envelope` parses the less common forms."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from schemas.instant import EARLIEST, LATEST, microseconds

_hour_form = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3])").fullmatch

_EARLIEST_US: Final = microseconds(EARLIEST)
_LATEST_US: Final = microseconds(LATEST)
_MINUTE: Final = 60_000_000
_SECONDS: Final = {f":{m:02}:{s:02}": m * _MINUTE + s * 1_000_000 for m in range(60) for s in range(60)}
_OFFSETS: Final = {"Z": 0} | {
    f"{sign}{h:02}:{m:02}": way * (h * 60 + m) * _MINUTE
    for sign, way in (("+", -1), ("-", 1))
    for h in range(24)
    for m in range(60)
}
_hours: dict[str, int] = {}
_KNOWN_LIMIT: Final = 4_096


class NotPlainError(ValueError):
    """The text is not in the common form. It may still be a valid instant."""


def in_microseconds(text: str) -> int:
    """Convert an instant with `T`, and `Z` or an offset, to microseconds since 1970. Raises NotPlainError otherwise."""
    hour = _hours.get(text[:13])
    if hour is None:
        hour = _hour(text[:13])
    seconds = _SECONDS.get(text[13:19])
    if seconds is None:
        raise NotPlainError
    tail = text[19:]
    offset = _OFFSETS.get(tail)
    us = hour + seconds + (_fraction(tail) if offset is None else offset)
    if not _EARLIEST_US <= us < _LATEST_US:
        raise NotPlainError
    return us


def _hour(text: str) -> int:
    """Microseconds of the start of an hour such as 2017-01-28T05, UTC. The cache is bounded."""
    if not _hour_form(text):
        raise NotPlainError
    if len(_hours) >= _KNOWN_LIMIT:
        _hours.clear()
    return _hours.setdefault(text, microseconds(datetime.fromisoformat(f"{text}:00:00+00:00")))


def _fraction(tail: str) -> int:
    """Microseconds that `.123Z` or `.123456-05:00` adds. Digits beyond microseconds are truncated."""
    zone = tail[-1:] if tail.endswith("Z") else tail[-6:]
    digits = tail[1 : -len(zone)] if zone else ""
    offset = _OFFSETS.get(zone)
    if offset is None or tail[0] != "." or not digits.isdecimal() or len(digits) > 9:
        raise NotPlainError
    return offset + int(digits[:6].ljust(6, "0"))
