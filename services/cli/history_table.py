"""The output of `ddor history`: a line for each week, and how the file and the reports reconcile."""

from __future__ import annotations

from typing import get_args

from rich import box

from services.cli.closing_weeks import place_name
from services.cli.console import out, table
from services.cli.history_closing import ClosedWeeks, WeekReport
from services.importer.amending import WITHDRAWN
from services.importer.file_weeks import FileWeeks
from services.importer.journal import Progress
from services.importer.rows import Kind

_MOST_NAMED = 10


def print_table(closed: ClosedWeeks) -> None:
    """Print the weeks in order."""
    shown = table("Week", ">Issued", ">Declined", "Top jurisdiction", "", lines=box.SIMPLE_HEAD)
    for week in sorted([*closed.reports, *closed.held, *closed.pending]):
        report = closed.reports.get(week)
        if report is None:
            shown.add_row(str(week), "", "", "", "held" if week in closed.held else "not closed")
        else:
            issued, declined = (f"{report.totals[kind]:,}" for kind in ("issued", "declined"))
            shown.add_row(str(week), issued, declined, _most(report), "closed before" if report.before else "")
    if shown.row_count:
        out.print(shown)


def _most(report: WeekReport) -> str:
    top = report.top
    return f"{place_name(top)} {top['declined']:,}" if top and top["declined"] else ""


def print_totals(done: Progress, weeks: FileWeeks, closed: ClosedWeeks) -> None:
    """Print that rows = counted + withdrawn + rejected, and compare the reports with the file."""
    withdrawn = sum(count for mark, count in done.marks.items() if mark.startswith(WITHDRAWN))
    reasons = ", ".join(
        f"{reason} {count:,}" for reason, count in sorted(done.reasons.items(), key=lambda one: -one[1])
    )
    rejected = f"{done.rejected:,} rejected" + (f" ({reasons})" if reasons else "")
    counted = f"{done.accepted - withdrawn:,} counted + {withdrawn:,} withdrawn + {rejected}"
    out.print(f"rows: {done.rows:,} = {counted}", highlight=False, soft_wrap=True)
    if not closed.reports:
        return
    kinds = get_args(Kind)
    here = [sum(weeks.counts[one][kind] for one in closed.reports if one in weeks.counts) for kind in kinds]
    there = [sum(one.totals[kind] for one in closed.reports.values()) for kind in kinds]
    what = f"{len(closed.reports):,} weeks with a report: issued {there[0]:,}, declined {there[1]:,}"
    if here == there:
        out.print(f"{what}, as in the file", highlight=False, soft_wrap=True)
    else:
        out.print(f"{what}; in the file {here[0]:,} and {here[1]:,}", highlight=False, soft_wrap=True)
        _print_different(weeks, closed)


def _print_different(weeks: FileWeeks, closed: ClosedWeeks) -> None:
    different = [
        str(week)
        for week, report in sorted(closed.reports.items())
        if any(report.totals[kind] != weeks.counts.get(week, {}).get(kind, 0) for kind in get_args(Kind))
    ]
    named = ", ".join(different[:_MOST_NAMED]) + (", ..." if len(different) > _MOST_NAMED else "")
    out.print(
        f"They differ in {len(different):,} weeks: {named}. Other data sets count there too, or the report is older "
        "than this import: ddor restate WEEK --by NAME --reason WHY",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
