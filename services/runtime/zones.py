"""Time zones from the pinned package `tzdata`, independent of the operating system.

The standard library prefers the system's zones and `PYTHONTZPATH`, so two processes of one release could assign a fact
to different weeks.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAME = re.compile(r"[A-Za-z0-9+_-]+(/[A-Za-z0-9+_-]+){0,2}")


@cache
def zone(name: str) -> ZoneInfo:
    """The zone with an IANA name. Raises ZoneInfoNotFoundError if the package does not have it."""
    if not _NAME.fullmatch(name):
        raise ZoneInfoNotFoundError(name)
    try:
        with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
            return ZoneInfo.from_file(rules, key=name)
    except (OSError, ValueError):
        raise ZoneInfoNotFoundError(name) from None
