"""Reads the published figures of all weeks, one revision at a time, as the content of files.

A file is that of one instant, although it is read in many statements: it ends with the newest report of its beginning,
and reports never change. No statement is open while a client reads, so slow clients occupy no connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg

from services.publisher.site import figure_files
from services.publisher.site.queries import SQL
from services.publisher.site.reader import Reader
from services.publisher.site.reader_pool import TooManyReadersError

REVISIONS_READ = 500
"""The greatest number of revisions that are listed by one statement. Their figures are read one revision at a time."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait for a free connection, again and again: a long file must not fail because of a short rush."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest report of all weeks, which identifies the content of the files; with sequence 0 if there is none."""

    sequence: int
    digest: str
    week: date | None = None
    published_at: datetime | None = None


class AllWeeks:
    """The files of all weeks, as streams of lines."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def tip(self) -> Tip:
        """The tip now."""
        row = await self._reader.row(SQL["tip"])
        return Tip(**row) if row else Tip(0, "none")

    async def figures(self, tip: Tip, *, newest: bool) -> AsyncIterator[bytes]:
        """The published numbers of all revisions, or with `newest` of the newest revision of each week."""
        yield figure_files.figures_header()
        async for some in self._revisions(tip, newest=newest):
            for one in some:
                rows = await self._rows("figures_of", one["week"], one["revision"])
                if rows:
                    yield figure_files.figures(one, map(dict, rows))

    async def revisions(self, tip: Tip) -> AsyncIterator[bytes]:
        """All revisions, with their totals."""
        yield figure_files.weeks_header()
        async for some in self._revisions(tip, newest=False):
            yield figure_files.weeks(some)

    async def _revisions(self, tip: Tip, *, newest: bool) -> AsyncIterator[list[dict[str, Any]]]:
        after: tuple[date, int] = (date.min, 0)
        while some := await self._rows("revisions_until", tip.sequence, *after, newest, REVISIONS_READ):
            yield list(map(dict, some))
            after = some[-1]["week"], some[-1]["revision"]

    async def _rows(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement. TooManyReadersError if no connection becomes free in several attempts."""
        for pause in PAUSES:
            try:
                return await self._reader.rows(SQL[name], *arguments)
            except TooManyReadersError:
                await asyncio.sleep(pause)
        return await self._reader.rows(SQL[name], *arguments)
