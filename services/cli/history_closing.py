"""Closes the weeks of a file: requests all, then waits with a progress bar until each has a report or is held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.cli.closing_weeks import closes_by_itself, describe, print_held
from services.cli.console import complain, err
from services.cli.queries import SQL
from services.publisher.closing import WRITTEN, Close, State
from services.publisher.store import Store
from services.runtime.settings import Settings

_TICK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class WeekReport:
    """The figures of a week's newest report."""

    week: date
    totals: dict[str, int]
    top: dict[str, Any] | None
    before: bool
    """Whether the week was closed before this command."""


@dataclass(slots=True)
class ClosedWeeks:
    """The outcome: weeks with a report, weeks that gates hold, weeks without an outcome, weeks that close later."""

    reports: dict[date, WeekReport] = field(default_factory=dict)
    held: list[date] = field(default_factory=list)
    pending: list[date] = field(default_factory=list)
    later: list[date] = field(default_factory=list)

    @property
    def unfinished(self) -> bool:
        """Whether a person has to act before all weeks have a report."""
        return bool(self.held or self.pending)


async def close_weeks(
    connection: asyncpg.Connection[Any], loaded: Settings, weeks: Sequence[date], by: str, wait: float
) -> ClosedWeeks:
    """Request the weeks that a command may close, and wait. `wait`: seconds without a new outcome, then it gives up."""
    store = Store(connection, loaded.calendar, loaded.hold)
    closing = _Closing(connection, store, weeks, await store.closes())
    for week in weeks:
        if not closes_by_itself(week, loaded):
            await store.request(week, by, datetime.now(UTC))
        elif week not in closing.before:
            closing.found.later.append(week)
    await closing.wait(wait)
    return closing.found


class _Closing:
    def __init__(
        self,
        connection: asyncpg.Connection[Any],
        store: Store,
        weeks: Sequence[date],
        closes: dict[date, Close],
    ) -> None:
        self._connection = connection
        self._store = store
        self._weeks = weeks
        self.before = {week for week, close in closes.items() if close.state in WRITTEN}
        self.found = ClosedWeeks()

    async def wait(self, seconds: float) -> None:
        """Wait until each week has a report or is held, or nothing happens for so long."""
        wanted = [week for week in self._weeks if week not in self.found.later]
        columns = (TextColumn("closing weeks"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TextColumn("{task.fields[state]}"))  # fmt: skip
        clock = asyncio.get_running_loop().time
        progress_at = clock()
        with Progress(*columns, console=err) as bar:
            task = bar.add_task("", total=len(wanted), state="")
            known: object = None
            while True:
                closes = await self._store.closes()
                await self._look(wanted, closes)
                bar.update(task, completed=len(wanted) - len(self.found.pending))
                if not self.found.pending:
                    bar.update(task, state="")
                    break
                first = self.found.pending[0]
                state = await describe(self._store, closes[first]) if first in closes else "not requested"
                bar.update(task, state=f"{first}: {state}")
                if (now := (len(self.found.pending), state)) != known:
                    known, progress_at = now, clock()
                elif clock() - progress_at > seconds:
                    why = f"{first}: {state}; nothing has changed for {seconds:g} s. The requests stay in effect"
                    complain("Not finished", f"{why}; run the same command again to wait")
                    break
                await asyncio.sleep(_TICK_SECONDS)
        await self._read(list(self.found.reports), even_unsent=True)  # a close restates other weeks
        for week in self.found.held:
            await print_held(self._connection, week, (await self._store.closes())[week])

    async def _look(self, weeks: Sequence[date], closes: dict[date, Close]) -> None:
        now = datetime.now(UTC)
        missing = [week for week in weeks if week not in self.found.reports]
        await self._read(missing, even_unsent=False)
        left = [week for week in missing if week not in self.found.reports]
        held = {week for week in left if _is_held(closes.get(week), now)}
        self.found.held = sorted(held)
        self.found.pending = [week for week in left if week not in held]

    async def _read(self, weeks: Sequence[date], *, even_unsent: bool) -> None:
        for row in await self._connection.fetch(SQL["week_reports"], weeks, even_unsent):
            week = row["week"]
            self.found.reports[week] = WeekReport(week, row["totals"], row["top"], week in self.before)


def _is_held(close: Close | None, now: datetime) -> bool:
    return close is not None and close.state is State.HELD and close.holds(now)
