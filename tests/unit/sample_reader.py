"""The publisher's routes over a database with one report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, cast

import asyncpg
import httpx
from starlette.applications import Starlette

from services.publisher.site.about import About
from services.publisher.site.queries import SQL
from services.publisher.site.routes import Site
from tests.unit.sample_reports import CALENDAR, report, snapshot

ABOUT = About(CALENDAR, timedelta(hours=24), timedelta(hours=24), 8, date(2017, 1, 28), "off", None)
NOW = datetime(2017, 2, 6, 12, tzinfo=UTC)
REPORT = report(snapshot({"32003": 118}, {"32003": 51}))
ROW: dict[str, Any] = {
    "week": date(2017, 1, 28),
    "revision": 1,
    "cause": "initial",
    "digest": REPORT.digest,
    "figures": REPORT.model_dump(mode="json") | {"digest": REPORT.digest},
    "published_at": datetime(2017, 2, 5, 5, tzinfo=UTC),
    "issued": 118,
    "declined": 51,
    "reported": True,
    "first_issued": 118,
    "first_declined": 51,
    "geoid": "32003",
    "jurisdictions": 1,
    "year_issued": 118,
    "year_declined": 51,
    "unknown_issued": 0,
    "unknown_declined": 0,
    "previous_week": None,
    "next_week": None,
    "demonstration": False,
    "state": "published",
    "newest": 1,
    "reports": 1,
    "final_weeks": 0,
    "code": "32",
    "row_version": "7",
    "now": {"issued": 121, "declined": 51},
}


_OTHERS = ("trend", "series", "sums", "year_of_places", "newest_week", "places_before", "states_before")


class Pool:
    """Returns one report and records the arguments of each query."""

    def __init__(self) -> None:
        self.queries: list[tuple[object, ...]] = []
        self.documents = 0
        self.row: dict[str, Any] | None = ROW
        self.rows: list[dict[str, Any]] | None = None
        """The rows of the list, if not only `row`."""
        self.broken: Exception | None = None
        self.messages: list[tuple[int, bytes]] = []
        """The sent messages of `report-ready`, with their offsets."""
        self.pages_read = 0

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        return None

    def acquire(self, *, timeout: float) -> Pool:
        assert timeout > 0
        return self

    async def fetch(self, statement: str, *arguments: object, timeout: float) -> list[dict[str, Any]]:  # noqa: ASYNC109
        assert timeout > 0
        if self.broken:
            raise self.broken
        if statement == "SELECT 1":
            return [{}]
        if statement == SQL["last_announced"]:
            return [{"last": max((offset for offset, _ in self.messages), default=None)}]
        if statement == SQL["announced_after"]:
            self.pages_read += 1
            return [
                {"sent_offset": at, "value": value} for at, value in self.messages if at > cast("int", arguments[0])
            ]
        if statement in [SQL[name] for name in _OTHERS]:
            return [self.row] if self.row else []
        if statement == SQL["newest_report"]:
            return [{"week": WEEK, "week_end": "2017-02-03", "notes": [], "policies": None}]
        assert statement in [SQL[name] for name in ("reports", "newest_revisions", "shown_revision", "document")]
        if statement == SQL["document"]:
            self.documents += 1
        else:
            self.queries.append(arguments)
        if statement == SQL["reports"] and self.rows is not None:
            return self.rows
        return [self.row] if self.row else []


def routes(pool: Pool, stopping: asyncio.Event | None = None) -> Site:
    """The routes over this database."""
    return Site(lambda: cast("asyncpg.Pool[Any]", pool), ABOUT, lambda: NOW, stopping)


@asynccontextmanager
async def reading(pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the routes."""
    reports = routes(pool)
    async with reports.connected():
        app = Starlette(routes=reports.routes)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://publisher") as client:
            yield client


WEEK = date(2017, 1, 28)
