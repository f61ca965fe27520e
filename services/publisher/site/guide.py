"""The routes of the release calendar and of the method."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.publisher.site import icalendar, method, rendering
from services.publisher.site.about import About
from services.publisher.site.queries import SQL
from services.publisher.site.reader import Reader
from services.publisher.site.releases import ReleaseCalendar, release_calendar
from services.publisher.site.responses import tagged
from services.runtime.clock import Clock


class Guide:
    """The routes that describe the reports: when they come, and how their figures are made."""

    def __init__(self, reader: Reader, about: About, clock: Clock) -> None:
        self._reader = reader
        self._about = about
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """The routes, for people and for programs."""
        return [
            self._reader.page("/calendar", self.show_calendar),
            self._reader.file(icalendar.PATH, self.show_icalendar),
            self._reader.page("/method", self.show_method),
        ]

    async def show_calendar(self, request: Request) -> Response:
        """The HTML page of the next releases."""
        body = rendering.page("calendar.html", about=self._about, calendar=await self._calendar())
        return tagged(request, body, rendering.MEDIA_TYPES["html"])

    async def show_icalendar(self, request: Request) -> Response:
        """The next releases as iCalendar."""
        releases = (await self._calendar()).releases
        return tagged(request, icalendar.icalendar(releases), icalendar.MEDIA_TYPE)

    async def show_method(self, request: Request) -> Response:
        """The HTML page of the method and the glossary."""
        body = rendering.page("method.html", about=self._about, method=method.described())
        return tagged(request, body, rendering.MEDIA_TYPES["html"])

    async def _calendar(self) -> ReleaseCalendar:
        row = await self._reader.row(SQL["newest_week"], self._about.first_week)
        return release_calendar(self._about, row["week"] if row else None, self._clock())
