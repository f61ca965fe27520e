"""services.runtime.zones and schemas.week_bounds: the rules of a zone, and the weeks in which two calendars differ."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from schemas import week_bounds
from schemas.week import ReportingCalendar, Weekday
from services.runtime import zones
from tests.support.zones import machine, renamed

NEW_YORK = ReportingCalendar(renamed("America/New_York", "America/New_York"))
_BEGINS = """
from datetime import date
from services.runtime.settings import Settings
print(Settings().calendar.week(date(2017, 1, 28)).begins_at.isoformat())
"""


def test_the_pinned_rules_are_preferred_to_those_of_the_machine(tmp_path: Path) -> None:
    """Runs in a separate interpreter, because PYTHONTZPATH is read once."""
    path = machine(tmp_path, New_York="Asia/Tokyo")
    done = subprocess.run(
        [sys.executable, "-c", _BEGINS],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONTZPATH": str(path)},
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("2017-01-28T05:00:00+00:00", "")


@pytest.mark.parametrize("name", ["", "Nowhere", "America", "zone.tab", "/etc/localtime", "a/b/c/d", "UTC "])
def test_an_invalid_zone_is_not_looked_up_elsewhere(name: str) -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        zones.zone(name)


def test_all_zones_of_the_package_are_available() -> None:
    assert zones.zone("America/Argentina/Buenos_Aires").key == "America/Argentina/Buenos_Aires"
    assert zones.zone("Etc/GMT+5") is zones.zone("Etc/GMT+5")


def test_equal_weeks_have_equal_bounds_whatever_the_name_of_the_zone() -> None:
    text = week_bounds.text(NEW_YORK)
    assert text == week_bounds.text(ReportingCalendar(renamed("US/Eastern", "US/Eastern")))
    assert week_bounds.differing(text, text) == []
    assert week_bounds.digest(text) != week_bounds.digest(week_bounds.text(ReportingCalendar(ZoneInfo("UTC"))))
    assert text != week_bounds.text(ReportingCalendar(NEW_YORK.zone, Weekday.SUNDAY))


@pytest.mark.parametrize("other", ["America/Toronto", "America/Detroit", "America/Chicago", "UTC", "Asia/Tokyo"])
def test_weeks_differ_if_they_begin_or_end_differently(other: str) -> None:
    another = ReportingCalendar(ZoneInfo(other))
    wanted = []
    week = NEW_YORK.week(date(1969, 12, 27))
    while week.first <= week_bounds.LAST:
        their = another.week(week.first)
        if (week.begins_at, week.ends_at) != (their.begins_at, their.ends_at):
            wanted.append(week.first)
        week = NEW_YORK.next(week)
    assert wanted
    assert week_bounds.differing(week_bounds.text(NEW_YORK), week_bounds.text(another)) == wanted


def test_the_bounds_are_those_of_the_weeks() -> None:
    offsets = dict(week_bounds._offsets(week_bounds.text(NEW_YORK)))
    assert min(offsets) == date(1969, 12, 27)
    assert max(offsets) == date(2100, 12, 25)
    for first, offset in offsets.items():
        begins = NEW_YORK.week(first).begins_at
        assert begins == NEW_YORK.week_of(begins).begins_at
        assert timedelta(seconds=-offset) == begins.replace(tzinfo=None) - begins.replace(
            year=first.year, month=first.month, day=first.day, hour=0, minute=0, second=0, tzinfo=None
        )
