"""The routes of reports: the front page, the list, a week, a revision, its line list and the feed."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

import asyncpg
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.announcement import links
from schemas.report import sha256_of
from services.publisher.closing import State
from services.publisher.site import feed, program, rendering, report_requests, series, states, trend
from services.publisher.site.about import About
from services.publisher.site.queries import SQL
from services.publisher.site.reader import Reader
from services.publisher.site.render_cache import RenderCache
from services.publisher.site.responses import ProblemError, caching, html, not_modified, response, tagged

WEEKS_LISTED = 520
"""The greatest number of weeks in a list: ten years."""
_NOT_FOUND = "report-not-found"


def _not_found() -> ProblemError:
    return ProblemError(404, _NOT_FOUND, "There is no such report, or not yet. /v1/reports lists all reports.")


class Weeks:
    """The routes of reports."""

    def __init__(self, reader: Reader, about: About) -> None:
        self._reader = reader
        self._rendered = RenderCache()
        self._calendar = about.calendar
        self._contact = about.contact

    @property
    def routes(self) -> list[Route]:
        """The routes, for people and for programs."""
        page, file = self._reader.page, self._reader.file
        return [
            page("/", self.front_page, "as_of"),
            page("/reports", self.show_weeks, "before"),
            page("/reports/{name}", self.show_page, "as_of"),
            file(feed.PATH, self.show_feed),
            file("/v1/reports", self.list_reports, "as_of", "before"),
            file("/v1/reports/{name}", self.show, "as_of"),
            file("/v1/reports/{name}/revisions/{number}", self.show, "as_of"),
            file("/v1/reports/{name}/revisions/{number}/line-list", self.show_list),
        ]

    async def front_page(self, request: Request) -> Response:
        """The HTML page of the latest week, or a page without weeks."""
        try:
            return await self._shown(request, None, None, "html")
        except ProblemError as error:
            if error.code != _NOT_FOUND:
                raise
            return html(rendering.list_page([], None))

    async def show_weeks(self, request: Request) -> Response:
        """The HTML page that lists all weeks, newest first."""
        rows, older = await self._listed(None, report_requests.day(request, "before"))
        body = rendering.list_page([_listed(row) | _current(row) for row in rows], older)
        return tagged(request, body, rendering.MEDIA_TYPES["html"])

    async def show_feed(self, request: Request) -> Response:
        """The Atom feed of the newest revisions."""
        rows = await self._reader.rows(SQL["newest_revisions"], feed.ENTRIES)
        return tagged(request, feed.atom([dict(row) for row in rows]), feed.MEDIA_TYPE)

    async def list_reports(self, request: Request) -> Response:
        """The newest revision of each week, newest week first. A header links to the list of older weeks."""
        as_of = report_requests.as_of(request, self._calendar)
        rows, older = await self._listed(as_of, report_requests.day(request, "before"))
        reports = [_listed(row) | ({} if as_of else _current(row)) for row in rows]
        response = tagged(request, msgspec.json.encode({"reports": reports}), "application/json")
        if older:
            query = urlencode({name: text for name, text in request.query_params.items() if name == "as_of"})
            response.headers["Link"] = f'</v1/reports?before={older}{query and f"&{query}"}>; rel="next"'
        return response

    async def _listed(self, as_of: datetime | None, before: date | None) -> tuple[list[asyncpg.Record], date | None]:
        """The weeks of one list, and the week before which the next list begins, if there are more."""
        rows = await self._reader.rows(SQL["reports"], as_of, before, WEEKS_LISTED + 1)
        listed = rows[:WEEKS_LISTED]
        return listed, listed[-1]["week"] if len(rows) > WEEKS_LISTED else None

    async def show(self, request: Request) -> Response:
        """One report: the requested revision of a week, or its newest one."""
        return await self._shown(request, *report_requests.report(request))

    async def show_page(self, request: Request) -> Response:
        """The HTML page of a week, at an address for people."""
        week, _, suffix = report_requests.address(request)
        if suffix:
            raise _not_found()
        return await self._shown(request, week, None, "html")

    async def _shown(self, request: Request, week: date | None, revision: int | None, form: str) -> Response:
        as_of = report_requests.as_of(request, self._calendar)
        row = await self._reader.row(SQL["shown_revision"], week, revision, as_of)
        if row is None:
            raise _not_found()
        week_status = None if as_of else _current(row) | {"newest": row["newest"]}
        shown = self._version(row, week_status, form)
        # With the version of the row, because a recovered revision has the same digest and fewer fields.
        tag = f'"{row["digest"][:32]}-{form}{shown}-{row["row_version"]}"'
        headers = {"Vary": "Accept", **_status_headers(week_status)}
        if unchanged := not_modified(request, tag, headers):
            return unchanged
        key = f"{tag} {row['digest']}"
        body = self._rendered.get(key)
        if body is None:
            body = await self._render(row, form, week_status, as_of)
            self._rendered.put(key, body)
        return response(body, rendering.MEDIA_TYPES[form], caching(tag) | headers)

    def _version(self, row: asyncpg.Record, week_status: dict[str, Any] | None, form: str) -> str:
        """Changes with everything in a body that is not in its document: the program, and what a page shows besides."""
        if form == "json":
            return ""
        others = [row["reports"], row["final_weeks"], str(row["previous_week"]), str(row["next_week"])]
        besides = [week_status, *others, self._contact] if form == "html" else []
        return sha256_of([program.digest(), *besides])[:8]

    async def _render(
        self, row: asyncpg.Record, form: str, week_status: dict[str, Any] | None, as_of: datetime | None
    ) -> bytes:
        """The revision, from its document. ProblemError 404 if the row is gone."""
        stored = await self._reader.row(SQL["document"], row["week"], row["revision"])
        if stored is None:
            raise _not_found()
        document = stored["figures"]
        context = await self._context(row, document["top"], week_status, as_of) if form == "html" else None
        return await asyncio.to_thread(rendering.render, document, form, context)

    async def _context(
        self, row: asyncpg.Record, top: list[dict[str, Any]], week_status: dict[str, Any] | None, as_of: datetime | None
    ) -> dict[str, Any]:
        """What the page shows besides the document, see `week_page.variables`."""
        weeks = await self._reader.rows(SQL["trend"], row["week"], as_of)
        places = await self._reader.rows(SQL["places_before"], row["week"], as_of, [one["geoid"] for one in top])
        sums = await self._reader.rows(SQL["states_before"], row["week"], as_of)
        return {
            "published_at": row["published_at"].astimezone(UTC).isoformat(timespec="minutes"),
            "previous": row["previous_week"] and str(row["previous_week"]),
            "next": row["next_week"] and str(row["next_week"]),
            "weeks": [series.week(dict(one), is_current=as_of is None) for one in weeks],
            "places": series.by_place((one["geoid"], dict(one)) for one in places),
            "states": series.by_place((states.postal_codes()[one["code"]], dict(one)) for one in sums),
            "status": week_status,
            "contact": self._contact,
        }

    async def show_list(self, request: Request) -> Response:
        """The line list of a revision; 410 if it was withdrawn."""
        week, revision, _ = report_requests.address(request)
        row = await self._reader.row(SQL["line_list"], week, revision)
        if row is None:
            raise ProblemError(404, "line-list-not-found", "This revision has no line list.")
        if row["content"] is None:
            raise ProblemError(410, "line-list-withdrawn", "The line list was withdrawn. Its digest is in the report.")
        return tagged(request, row["content"], "application/json")


def _listed(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "week": row["week"].isoformat(),
        "revision": row["revision"],
        "digest": row["digest"],
        "published_at": row["published_at"].isoformat(),
        "demonstration": row["demonstration"],
        "totals": _totals(row),
        "links": links(row["week"], row["revision"]),
    }


def _totals(row: asyncpg.Record) -> dict[str, int]:
    return {kind: row[kind] for kind in trend.KINDS}


def _current(row: asyncpg.Record) -> dict[str, Any]:
    """The current status of a week and its pending facts, which are not part of a document.

    A list does not have the pending facts of a final week.
    """
    status = {"status": "final" if row["state"] == State.FINAL else "provisional"}
    counted, totals = row["now"], _totals(row)
    if counted is None:
        return status
    return status | {"pending": {kind: counted.get(kind, 0) - totals[kind] for kind in trend.KINDS}}


def _status_headers(week_status: dict[str, Any] | None) -> dict[str, str]:
    """The current status as headers. The body must be the document, which the digest covers."""
    if week_status is None:
        return {}
    pending = week_status["pending"]
    return {
        "Report-Status": week_status["status"],
        "Report-Pending": ", ".join(f"{kind}={n:+d}" if n else f"{kind}=0" for kind, n in pending.items()),
        "Report-Newest-Revision": str(week_status["newest"]),
    }
