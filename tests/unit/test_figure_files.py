"""services.publisher.site.figure_files: the lines of the files of all weeks."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.publisher.site import csv_text, figure_files

REVISION: dict[str, Any] = {
    "week": date(2017, 1, 28),
    "revision": 2,
    "cause": "scheduled",
    "digest": "a" * 64,
    "published_at": datetime(2017, 2, 5, 5, 0, 0, 250_000, UTC),
    "issued": 7,
    "declined": 0,
    "demonstration": False,
}


def test_each_kind_has_a_line_and_unknown_is_empty_but_zero_is_not() -> None:
    rows: list[dict[str, Any]] = [
        {"geoid": "01001", "issued": 7, "declined": 0},
        {"geoid": "US", "issued": None, "declined": 3},
    ]
    assert figure_files.figures(REVISION, rows).decode() == (
        "2017-01-28,2,01001,issued,7,counted\r\n"
        "2017-01-28,2,01001,declined,0,counted\r\n"
        "2017-01-28,2,US,issued,,unknown\r\n"
        "2017-01-28,2,US,declined,3,counted\r\n"
    )


def test_numbers_of_demonstration_data_have_their_own_status() -> None:
    rows = [{"geoid": "32003", "issued": 7, "declined": None}]
    lines = figure_files.figures(REVISION | {"demonstration": True}, rows).decode().splitlines()
    assert [line.rpartition(",")[2] for line in lines] == ["demonstration", "unknown"]


def test_the_headers_name_the_columns() -> None:
    assert figure_files.figures_header() == b"week,revision,geoid,kind,n,status\r\n"
    assert figure_files.weeks_header().startswith(b"week,week_end,revision,cause,published_at,digest,issued,declined,")


def test_a_revision_has_the_end_of_its_week_and_its_instant_in_utc() -> None:
    elsewhere = REVISION["published_at"].astimezone(ZoneInfo("America/New_York"))
    assert figure_files.weeks([REVISION | {"published_at": elsewhere}]).decode() == (
        f"2017-01-28,2017-02-03,2,scheduled,2017-02-05T05:00:00.250000Z,{'a' * 64},7,0,false\r\n"
    )


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1"])
def test_no_cell_starts_a_formula(text: str) -> None:
    ((cell, number),) = csv.reader(io.StringIO(csv_text.encode([(text, -1)]).decode(), newline=""))
    assert (cell, number) == (f"'{text}", "-1"), "a number is no formula"


@pytest.mark.parametrize("text", ['a "b", c', "two\r\nlines", "Doña Ana", ""])
def test_a_cell_is_read_as_it_was_written(text: str) -> None:
    assert list(csv.reader(io.StringIO(csv_text.encode([(text, None)]).decode(), newline=""))) == [[text, ""]]
