"""The settings that pages describe to readers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from schemas.week import ReportingCalendar
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
    def of(cls, settings: Settings, first_week: date) -> Self:
        """What these settings state, with the checked first week."""
        return cls(
            settings.calendar,
            settings.grace,
            settings.hold,
            settings.restatement_weeks,
            first_week,
            settings.line_list,
            settings.contact,
        )
