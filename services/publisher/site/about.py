"""The settings that pages describe to readers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from schemas.week import NotAWeekError, ReportingCalendar
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class About:
    """How this publisher counts weeks, closes them and can be contacted.

    `grace` is the time from the end of a week to its close, `hold` the longest time for which a gate holds a week.
    Weeks before `first_week` are published only on request. `line_list` is off, coarse or full. `contact` is a URL
    (mailto or https), or None.
    """

    calendar: ReportingCalendar
    grace: timedelta
    hold: timedelta
    restatement_weeks: int
    first_week: date
    line_list: str
    contact: str | None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The values of these settings. ConfigurationError without a valid first week."""
        return cls(
            settings.calendar,
            settings.grace,
            settings.hold,
            settings.restatement_weeks,
            _first_week(settings),
            settings.line_list,
            settings.contact,
        )


def _first_week(settings: Settings) -> date:
    if settings.first_week is None:
        raise ConfigurationError("set DDOR_FIRST_WEEK to the first day of the earliest week that closes automatically")
    try:
        first_week = settings.calendar.week(settings.first_week).first
    except NotAWeekError as error:
        raise ConfigurationError(f"DDOR_FIRST_WEEK: {error}") from None
    if first_week < (earliest := settings.calendar.earliest.first):
        raise ConfigurationError(f"DDOR_FIRST_WEEK: must not be before {earliest}, the earliest week of any fact")
    return first_week
