"""The routes of jurisdictions and states: their pages and their series."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rfc8785
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.jurisdiction import Jurisdiction, registry
from services.publisher.site import rendering, report_requests, series, states, trend
from services.publisher.site.about import About
from services.publisher.site.queries import SQL
from services.publisher.site.reader import Reader
from services.publisher.site.rendering import WEEKS_SHOWN
from services.publisher.site.responses import ProblemError, tagged

WEEKS_IN_SERIES = 2_080
"""The greatest number of weeks in a series: 40 years."""


class Places:
    """The routes of jurisdictions and states."""

    def __init__(self, reader: Reader, about: About) -> None:
        self._reader = reader
        self._calendar = about.calendar

    @property
    def routes(self) -> list[Route]:
        """The routes, for people and for programs."""
        page, file = self._reader.page, self._reader.file
        return [
            page("/jurisdictions/{geoid}", self.show_jurisdiction),
            page("/states", self.show_states),
            page("/states/{postal}", self.show_state),
            file("/v1/series", self.show_series, "geoid", "state", "kind", "from", "to", "as_of"),
        ]

    async def show_series(self, request: Request) -> Response:
        """The published figures of one jurisdiction, or the sums of one state, week by week, as JSON."""
        state = report_requests.state(request)
        place = state or report_requests.jurisdiction(request)
        kinds = report_requests.kinds(request)
        first, last = report_requests.day(request, "from"), report_requests.day(request, "to")
        weeks = (first, last, report_requests.as_of(request, self._calendar), WEEKS_IN_SERIES)
        if state:
            rows = await self._reader.rows(SQL["sums"], _codes(states.places(state.state)), *weeks)
            document = states.document(state, map(dict, rows), kinds)
        else:
            rows = await self._reader.rows(SQL["series"], place.code, *weeks)
            document = series.document(place, map(dict, rows), kinds)
        return tagged(request, rfc8785.dumps(document), "application/json")

    async def show_jurisdiction(self, request: Request) -> Response:
        """The HTML page of one jurisdiction."""
        place = registry().get(request.path_params["geoid"])
        if place is None:
            raise ProblemError(404, "jurisdiction-not-found", report_requests.NO_SUCH_CODE)
        rows = await self._reader.rows(SQL["series"], place.code, None, None, None, WEEKS_SHOWN + 1)
        weeks = [series.week(dict(row), is_current=True) | {"reported": row["reported"]} for row in rows]
        body = rendering.jurisdiction_page(place, weeks, await self._newest([place]))
        return tagged(request, body, rendering.MEDIA_TYPES["html"])

    async def show_states(self, request: Request) -> Response:
        """The HTML page of all states, with the jurisdictions of no state."""
        rows = await self._year(registry())
        body = rendering.page(
            "states.html",
            totals=states.totals(rows),
            elsewhere=states.years(states.elsewhere(), rows),
            newest=await self._newest([]),
        )
        return tagged(request, body, rendering.MEDIA_TYPES["html"])

    async def show_state(self, request: Request) -> Response:
        """The HTML page of one state. A code in lower case is redirected."""
        postal = request.path_params["postal"]
        state = states.states().get(postal.upper())
        if state is None:
            raise ProblemError(404, "state-not-found", report_requests.NO_SUCH_STATE)
        if postal != state.state:
            return RedirectResponse(f"/states/{state.state}", 308)
        found = states.places(state.state)
        sums = await self._reader.rows(SQL["sums"], _codes(found), None, None, None, WEEKS_SHOWN + 1)
        weeks = [series.week(dict(row), is_current=True) | states.week(dict(row)) for row in sums]
        years = states.years(found, await self._year(found))
        listed = {one.place.code for one in years}
        body = rendering.page(
            "state.html",
            state=state,
            charts=trend.charts(weeks),
            weeks=weeks[: -WEEKS_SHOWN - 1 : -1],
            omitted=len(weeks) > WEEKS_SHOWN,
            years=years,
            others=[one for one in found if one.code not in listed],
            newest=await self._newest(found),
        )
        return tagged(request, body, rendering.MEDIA_TYPES["html"])

    async def _year(self, found: Iterable[Jurisdiction]) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._reader.rows(SQL["year_of_places"], _codes(found))]

    async def _newest(self, found: Iterable[Jurisdiction]) -> dict[str, Any] | None:
        """What the newest report states about jurisdictions besides their figures; None without a report."""
        row = await self._reader.row(SQL["newest_report"], _codes(found))
        return dict(row) if row else None


def _codes(found: Iterable[Jurisdiction]) -> list[str]:
    return [one.code for one in found]
