"""`ddor history FILE`: import a file, close the finished weeks of its records, and print their reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from schemas.week import ReportingWeek
from services.cli.closing_weeks import CannotCloseError, system_user
from services.cli.console import FAILED, WRONG_USE, complain, err, impersonal, run
from services.cli.history_closing import ClosedWeeks, close_weeks
from services.cli.history_table import print_table, print_totals
from services.cli.import_file import print_summary
from services.cli.importing import (
    Dataset,
    File,
    ImportRequest,
    JournalDirectory,
    Mapping,
    ProfileName,
    Supersedes,
    perform,
)
from services.cli.weeks import week_of
from services.importer.file_weeks import FileWeeks
from services.importer.rows import NotThisFileError
from services.importer.sending import NotFinishedError
from services.runtime import calendar, logs, postgres, settings
from services.runtime.settings import Settings

INTERRUPTED = 130
_MOST_WEEKS = 520
"""Ten years. A file with a longer range has a few wrong dates, and each of their weeks would get a report."""


def history(
    file: File,
    profile: ProfileName,
    dataset: Dataset,
    journal: JournalDirectory = None,
    *,
    first: Annotated[
        str | None, typer.Option("--from", metavar="WEEK", help="First week to close. Default: the file's first.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="WEEK", help="Last week to close. Default: the file's last.")
    ] = None,
    mapping: Mapping = None,
    supersedes: Supersedes = None,
    by: Annotated[
        str,
        typer.Option("--by", callback=impersonal, help="Your name. Stored with the weeks. Default: the system's user."),
    ] = "",
    wait: Annotated[float, typer.Option(help="How long to wait for the next report, in seconds.", min=1)] = 120.0,
) -> None:
    """From a released file to weekly reports: import it, close its finished weeks, print their figures.

    Examples:

    - ddor history Detainers_FY26.xlsx --profile ice-detainers --dataset ice-2026-03

    - ddor history detainers.csv.gz --profile ice-foia --dataset foia-2014 --from 2014-10-11 --to 2014-12-27

    - ddor history August.xlsx --profile ice-detainers --dataset ice-2026-08 --supersedes ice-2026-03

    Closes each week from the first to the last of the file that has ended and does not close by itself (see 'ddor
    close'). Weeks that are closed already are listed. A week that a gate holds is named with the command that releases
    it; the other weeks are closed.

    Interrupt it at any time, and run the same command again to continue.

    Exit codes:

    - 0: all rows are stored or rejected with a reason, and all finished weeks have a report
    - 1: not finished: a gate holds a week, or ingest or the publisher did not respond in time
    - 2: wrong usage or settings, a damaged file or one of another kind, or ingest refuses all requests
    - 130: interrupted
    """
    directory = journal or Path(f"import-{dataset}")
    request = ImportRequest(file, profile, dataset, directory, mapping, supersedes)
    try:
        run(_history(request, first, last, by, wait))
    except KeyboardInterrupt:
        err.print("Interrupted. Run the same command again to continue.")
        raise typer.Exit(INTERRUPTED) from None


async def _history(request: ImportRequest, first: str | None, last: str | None, by: str, wait: float) -> int:
    loaded = settings.load()
    logs.configure(loaded, "history")
    bounds = tuple(None if text is None else week_of(text, loaded) for text in (first, last))
    by = by or system_user()
    weeks = FileWeeks(loaded.calendar)
    await _check(loaded)
    try:
        journal = await perform(request, loaded, weeks.add)
    except NotThisFileError as error:
        complain(request.path.name, error)
        return WRONG_USE
    except NotFinishedError as error:
        complain("Not finished", error)
        return FAILED
    print_summary(journal)
    finished, going_on = _weeks(weeks, bounds, loaded)
    connection = await postgres.connect(loaded, "ddor-history")
    try:
        closed = await close_weeks(connection, loaded, finished, by, wait)
    finally:
        await connection.close()
    print_table(closed)
    print_totals(journal.progress, weeks, closed)
    _print_open(going_on, closed)
    return FAILED if closed.unfinished else 0


async def _check(loaded: Settings) -> None:
    """Find a wrong calendar or an absent database before the import, which may take long."""
    connection = await postgres.connect(loaded, "ddor-history")
    try:
        await calendar.check(connection, loaded.calendar)
    finally:
        await connection.close()


def _weeks(weeks: FileWeeks, bounds: Sequence[date | None], loaded: Settings) -> tuple[list[date], list[ReportingWeek]]:
    """The finished weeks from the file's first to its last, and the unfinished ones. Raises CannotCloseError."""
    calendar_ = loaded.calendar
    known = sorted(one for one in weeks.counts if one >= calendar_.earliest.first)
    if not known:
        return [], []
    start, end = bounds[0] or known[0], bounds[1] or known[-1]
    found: list[ReportingWeek] = []
    week = calendar_.week(max(start, calendar_.earliest.first))
    while week.first <= end:
        found.append(week)
        week = calendar_.next(week)
    if len(found) > _MOST_WEEKS:
        raise CannotCloseError(
            f"the records of the file are of {len(found):,} weeks, from {found[0]} to {found[-1]}: name the weeks to "
            "close with --from and --to"
        )
    now = datetime.now(UTC)
    return [one.first for one in found if one.ends_at <= now], [one for one in found if one.ends_at > now]


def _print_open(going_on: Sequence[ReportingWeek], closed: ClosedWeeks) -> None:
    for week in going_on:
        err.print(f"{week}: has not ended; it ends at {week.ends_at.isoformat()}", highlight=False)
    if closed.later:
        named = f"{closed.later[0]}" + (f" to {closed.later[-1]}" if len(closed.later) > 1 else "")
        err.print(f"{named}: not closed yet; weeks from DDOR_FIRST_WEEK on close by themselves", highlight=False)
