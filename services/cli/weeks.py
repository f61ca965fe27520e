"""A week as an operator writes it: by its first day, such as 2017-01-28."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from services.runtime.errors import CallerError
from services.runtime.settings import Settings

Week = Annotated[str, typer.Argument(metavar="WEEK", help="First day of the week, such as 2017-01-28.")]


class NoSuchWeekError(CallerError):
    """The text is not the first day of a reporting week."""


def week_of(text: str, loaded: Settings) -> date:
    """Read the first day of a week. Raises NoSuchWeekError, which names the right day for a date within a week."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise NoSuchWeekError(f"{text!r} is not a date: write the first day of a week, such as 2017-01-28") from None
    try:
        return loaded.calendar.week(day).first
    except (ValueError, OverflowError) as error:
        raise NoSuchWeekError(str(error)) from None
