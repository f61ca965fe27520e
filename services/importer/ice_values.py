"""What values in ICE's released detainer files mean: days, forms and lift reasons. Shared by the profiles; pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from services.importer.rows import Event

DECLINED: Final = "declined"
OTHER: Final = "other"
_FORM = re.compile(r"I-?247([ADNX]?)\b", re.IGNORECASE)
# No detainer is older; before, time zones had offsets in seconds, which RFC 3339 cannot write.
FIRST_YEAR: Final = 1970


@dataclass(frozen=True, slots=True)
class Lift:
    """What a lift reason means: a decline, or that the row is withdrawn with this reason, or neither."""

    declined: bool = False
    withdrawn: str | None = None


@lru_cache(maxsize=1 << 14)
def noon(day: date, zone: ZoneInfo) -> str:
    """Noon of the day as RFC 3339. The files have days only, and noon is far from any week's border."""
    return datetime.combine(day, time(12), zone).isoformat()


@lru_cache(maxsize=1024)
def form_of(detainer_type: str) -> str | None:
    """The form's code, such as I-247A, from the beginning of the detainer type; None for another form."""
    match = _FORM.match(detainer_type)
    return f"I-247{match[1].upper()}" if match else None


def lift_of(reason: str, code: str = "", more: Mapping[str, str] = MappingProxyType({})) -> Lift | None:
    """What the reason means; the code decides where the reason is blank. Both blank: not lifted.

    `more` maps further reasons, in lower case, to meanings. None when the reason or the code is unknown, or when the
    two contradict each other.
    """
    meanings, of_codes = _lift_reasons()
    by_reason = (more.get(reason.casefold()) or meanings.get(reason.casefold())) if reason else ""
    by_code = of_codes.get(code.upper()) if code else ""
    if by_reason is None or (not reason and by_code is None):
        return None
    if by_reason and by_code and by_reason != by_code:
        return None
    return _lift(by_reason or by_code or "")


def _lift(meaning: str) -> Lift:
    if meaning == DECLINED:
        return Lift(declined=True)
    return Lift() if meaning in ("", OTHER) else Lift(withdrawn=meaning)


def events(data: dict[str, object], lift: Lift) -> tuple[Event, ...]:
    """The events of a detainer. No file has the date of a decline: the import uses the day of preparation."""
    if lift.withdrawn:
        return (Event("issued", {**data, "withdrawn": True, "withdrawn_reason": lift.withdrawn}),)
    issued = Event("issued", data)
    if not lift.declined:
        return (issued,)
    instant = data["issued_at"]
    return issued, Event("declined", {**data, "declined_at": instant, "recorded_at": instant})


def table(package: str, name: str) -> Iterator[dict[str, str]]:
    """The rows of a CSV file of a package, without its comments."""
    text = (files(package) / name).read_text(encoding="utf-8")
    return csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#"))


@cache
def _lift_reasons() -> tuple[dict[str, str], dict[str, str]]:
    """Meanings by reason in lower case, and by code."""
    rows = list(table("services.importer", "lift_reasons.csv"))
    return (
        {row["reason"].casefold(): row["means"] for row in rows},
        {row["code"]: row["means"] for row in rows if row["code"]},
    )
