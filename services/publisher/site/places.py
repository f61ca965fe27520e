"""The routes of jurisdictions: the page and the series of one."""

from __future__ import annotations

import rfc8785
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.jurisdiction import registry
from schemas.week import ReportingCalendar
from services.publisher.site import rendering, report_requests, series
from services.publisher.site.queries import SQL
from services.publisher.site.reader import Reader
from services.publisher.site.responses import ProblemError, tagged


class Places:
    """The routes of jurisdictions."""

    def __init__(self, reader: Reader, calendar: ReportingCalendar) -> None:
        self._reader = reader
        self._calendar = calendar

    @property
    def routes(self) -> list[Route]:
        """The routes, for people and for programs."""
        return [
            self._reader.page("/jurisdictions/{geoid}", self.show_jurisdiction),
            self._reader.file("/v1/series", self.show_series, "geoid", "from", "to", "as_of"),
        ]

    async def show_series(self, request: Request) -> Response:
        """The published figures of one jurisdiction, week by week, as JSON."""
        place = report_requests.jurisdiction(request)
        first, last = report_requests.day(request, "from"), report_requests.day(request, "to")
        as_of = report_requests.as_of(request, self._calendar)
        rows = await self._reader.rows(SQL["series"], place.code, first, last, as_of)
        return tagged(request, rfc8785.dumps(series.document(place, map(dict, rows))), "application/json")

    async def show_jurisdiction(self, request: Request) -> Response:
        """The HTML page of one jurisdiction."""
        place = registry().get(request.path_params["geoid"])
        if place is None:
            raise ProblemError(404, "jurisdiction-not-found", report_requests.NO_SUCH_CODE)
        rows = await self._reader.rows(SQL["series"], place.code, None, None, None)
        weeks = [series.week(dict(row), is_current=True) | {"reported": row["reported"]} for row in rows]
        return tagged(request, rendering.jurisdiction_page(place, weeks), rendering.MEDIA_TYPES["html"])
