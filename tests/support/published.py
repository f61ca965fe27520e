"""Published revisions, written to PostgreSQL by the publisher's own writer, without Kafka and without facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Literal

from schemas.report import RevisionCause
from schemas.week import ReportingWeek
from services.publisher import report
from services.publisher.inputs import ReportInputs, current
from services.publisher.report import RevisionMetadata
from services.publisher.revision_writer import RevisionWriter
from tests.support.positions import Connection
from tests.unit.sample_reports import CALENDAR, EVERYWHERE, Declined, snapshot

CLARK, WASHOE, NASSAU = "32003", "32031", "36059"
_STATE = """
INSERT INTO week_close (week, state, barrier) VALUES ($1, $2, '{}')
ON CONFLICT (week) DO UPDATE SET state = excluded.state
"""


def inputs(line_list: Literal["off", "coarse"] = "off") -> ReportInputs:
    """The inputs of a report with one agency for all jurisdictions."""
    return current(CALENDAR, EVERYWHERE, demonstration=False, notes=[], line_list=line_list)


async def publish(
    connection: Connection,
    published: ReportingWeek,
    issued: Mapping[str, int],
    declined: Mapping[str, int],
    *,
    revision: int = 1,
    state: str = "published",
    declines: Sequence[Declined] = (),
    used: ReportInputs | None = None,
) -> None:
    """Write a revision of a week, an hour of `revision` after the week's end, and set the state of the week."""
    draft = report.draft(published, snapshot(issued, declined, declines=declines), used or inputs())
    cause: RevisionCause = "initial" if revision == 1 else "scheduled"
    async with connection.transaction():
        at = published.ends_at + timedelta(hours=revision)
        await RevisionWriter(connection).write(draft, RevisionMetadata(revision, cause, None), at)
        await connection.execute(_STATE, published.first, state)


def week(number: int) -> ReportingWeek:
    """A week, counted from 0: the week of 2017-01-28."""
    return CALENDAR.week(date(2017, 1, 28) + timedelta(days=7 * number))


async def three_weeks(connection: Connection) -> None:
    """Write three weeks: the first is final and has two revisions, the second has a line list."""
    await publish(connection, week(0), {CLARK: 8, NASSAU: 3}, {CLARK: 5}, state="final")
    await publish(connection, week(0), {CLARK: 9, NASSAU: 3}, {CLARK: 5}, revision=2, state="final")
    declines = [Declined() for _ in range(6)]
    await publish(connection, week(1), {CLARK: 7}, {CLARK: 6}, declines=declines, used=inputs("coarse"))
    await publish(connection, week(2), {}, {WASHOE: 2})
