"""The HTTP routes for readers: the list, a week, a revision, a jurisdiction; as JSON, CSV or HTML; as of an instant."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import rfc8785
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schemas.announcement import links
from schemas.jurisdiction import registry
from schemas.report import sha256_of
from schemas.week import ReportingCalendar
from services.publisher import feed, rendering, report_requests, series, trend
from services.publisher.closing import State
from services.publisher.queries import SQL
from services.publisher.reader_pool import Connect, ReaderPool, TooManyReadersError
from services.publisher.render_cache import RenderCache
from services.publisher.report_requests import BadRequestError
from services.runtime import error_messages, metrics
from services.runtime.errors import InvariantError
from services.runtime.logs import get
from services.runtime.negotiation import has_tag
from services.runtime.problems import problem

log = get(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_RETRY = {"Retry-After": "5"}
_NOSNIFF = {"X-Content-Type-Options": "nosniff"}


def _unavailable() -> Response:
    return problem(503, "reports-unavailable", "The reports are temporarily unavailable; retry later.", _RETRY)


def _not_found() -> Response:
    return problem(404, "report-not-found", "There is no such report, or not yet. /v1/reports lists all reports.")


def _page_unavailable() -> Response:
    return _response(rendering.unavailable_page(), "html", _RETRY, 503)


class Reports:
    """The routes for readers. Any number of processes can serve them."""

    def __init__(self, connect: Connect, calendar: ReportingCalendar) -> None:
        self._database = ReaderPool(connect)
        self._rendered = RenderCache()
        self._calendar = calendar
        self._unavailable = False

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep the connections of the routes open. Use it for the lifetime of the service."""
        return self._database.connected()

    @property
    def routes(self) -> list[Route]:
        """The routes of the public interface."""
        return [
            Route("/", self._reading(self.front_page, unavailable=_page_unavailable)),
            Route(feed.PATH, self._reading(self.show_feed)),
            Route("/reports/{name}", self._reading(self.show_page, "as_of", unavailable=_page_unavailable)),
            Route("/jurisdictions/{geoid}", self._reading(self.show_jurisdiction, unavailable=_page_unavailable)),
            Route("/v1/series", self._reading(self.show_series, "geoid", "from", "to", "as_of")),
            Route("/v1/reports", self._reading(self.list_reports, "as_of")),
            Route("/v1/reports/{name}", self._reading(self.show, "as_of")),
            Route("/v1/reports/{name}/revisions/{number}", self._reading(self.show, "as_of")),
            Route("/v1/reports/{name}/revisions/{number}/line-list", self._reading(self.show_list)),
        ]

    def _reading(
        self, endpoint: Endpoint, *parameters: str, unavailable: Callable[[], Response] = _unavailable
    ) -> Endpoint:
        """Wrap an endpoint: respond 503 if too many readers wait or PostgreSQL is unavailable.

        The first failure and the recovery are logged. `parameters` are the accepted query parameters; any other one is
        an error (400).
        """

        async def respond(request: Request) -> Response:
            try:
                report_requests.check_parameters(request, parameters)
                response = await endpoint(request)
            except TooManyReadersError:
                metrics.READERS_TURNED_AWAY.inc()
                return unavailable()
            except BadRequestError as error:
                return error.response
            except Exception as error:
                why = error_messages.message(error)
                if why is None or isinstance(error, InvariantError):
                    raise
                if not self._unavailable:
                    log.warning("reports-unavailable", error=type(error).__name__, reason=why)
                self._unavailable = True
                return unavailable()
            if self._unavailable and response.status_code < 400:
                log.info("reports-available")
                self._unavailable = False
            return response

        return respond

    async def waiting_for(self) -> str | None:
        """None if reports can be read, else the problem."""
        return await self._database.waiting_for()

    async def _rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._database.rows(statement, *arguments)

    async def _row(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        return next(iter(await self._rows(statement, *arguments)), None)

    async def front_page(self, _: Request) -> Response:
        """The HTML page that lists all weeks."""
        rows = await self._rows(SQL["reports"], None)
        return _response(rendering.front_page([_listed(row) | _current(row) for row in rows]), "html")

    async def show_feed(self, request: Request) -> Response:
        """The Atom feed of the newest revisions."""
        body = feed.atom([dict(row) for row in await self._rows(SQL["newest_revisions"], feed.ENTRIES)])
        return _tagged(request, body, feed.MEDIA_TYPE)

    async def show_series(self, request: Request) -> Response:
        """The published figures of one jurisdiction, week by week, as JSON."""
        place = report_requests.jurisdiction(request)
        first, last = report_requests.day(request, "from"), report_requests.day(request, "to")
        rows = await self._rows(SQL["series"], place.code, first, last, report_requests.as_of(request, self._calendar))
        return _tagged(request, rfc8785.dumps(series.document(place, map(dict, rows))), "application/json")

    async def show_jurisdiction(self, request: Request) -> Response:
        """The HTML page of one jurisdiction."""
        place = registry().get(request.path_params["geoid"])
        if place is None:
            return _response(rendering.not_found_page(report_requests.NO_SUCH_CODE), "html", status=404)
        rows = await self._rows(SQL["series"], place.code, None, None, None)
        weeks = [series.week(dict(row), is_current=True) | {"reported": row["reported"]} for row in rows]
        policy = {"Content-Security-Policy": rendering.content_security_policy()}
        return _tagged(request, rendering.jurisdiction_page(place, weeks), rendering.MEDIA_TYPES["html"], policy)

    async def list_reports(self, request: Request) -> Response:
        """The newest revision of each week, newest week first."""
        as_of = report_requests.as_of(request, self._calendar)
        rows = await self._rows(SQL["reports"], as_of)
        return JSONResponse({"reports": [_listed(row) | ({} if as_of else _current(row)) for row in rows]})

    async def show(self, request: Request) -> Response:
        """One report: the requested revision of a week, or its newest one."""
        return await self._shown(request, *report_requests.report(request))

    async def show_page(self, request: Request) -> Response:
        """The HTML page of a week, at an address for people."""
        week, _, suffix = report_requests.address(request)
        return _not_found() if suffix else await self._shown(request, week, None, "html")

    async def _shown(self, request: Request, week: date | None, revision: int | None, form: str) -> Response:
        as_of = report_requests.as_of(request, self._calendar)
        row = await self._row(SQL["shown_revision"], week, revision, as_of)
        if row is None:
            return _not_found()
        week_status = None if as_of else _current(row) | {"newest": row["newest"]}
        context = await self._context(row, week_status, as_of) if form == "html" else None
        shown = sha256_of(context)[:8] if context else ""
        tag = f'"{row["digest"][:32]}-{form}{shown}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept", **_status_headers(week_status)}
        if has_tag(request.headers.getlist("if-none-match"), tag):
            return Response(status_code=304, headers=headers)
        body = await self._body(row, form, context, tag)
        return _not_found() if body is None else _response(body, form, headers)

    async def _context(
        self, row: asyncpg.Record, week_status: dict[str, Any] | None, as_of: datetime | None
    ) -> dict[str, Any]:
        """The parts of a page that are not in the document, see `rendering.as_html`."""
        weeks = await self._rows(SQL["trend"], row["week"], as_of)
        return {
            "published_at": f"{row['published_at'].astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            "previous": row["previous_week"] and str(row["previous_week"]),
            "next": row["next_week"] and str(row["next_week"]),
            "weeks": [series.week(dict(one), is_current=as_of is None) for one in weeks],
            "status": week_status,
        }

    async def _body(self, row: asyncpg.Record, form: str, context: dict[str, Any] | None, tag: str) -> bytes | None:
        """The rendered revision, from the cache or from its document. None if the row is gone.

        The key contains the version of the row, because a recovered revision has the same digest and fewer fields.
        """
        key = f"{tag} {row['digest']} {row['row_version']}"
        body = self._rendered.get(key)
        if body is None:
            stored = await self._row(SQL["document"], row["week"], row["revision"])
            if stored is None:
                return None
            body = rendering.render(stored["figures"], form, context)
            self._rendered.put(key, body)
        return body

    async def show_list(self, request: Request) -> Response:
        """The line list of a revision; 410 if it was withdrawn."""
        week, revision, _ = report_requests.address(request)
        row = await self._row(SQL["line_list"], week, revision)
        if row is None:
            return problem(404, "line-list-not-found", "This revision has no line list.")
        if row["content"] is None:
            return problem(410, "line-list-withdrawn", "The line list was withdrawn. Its digest is in the report.")
        return _response(row["content"], "json")


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
    """The current status of a week and its pending facts. They are not part of a document."""
    counted, totals = row["now"] or {}, _totals(row)
    pending = {kind: counted.get(kind, 0) - totals[kind] for kind in trend.KINDS}
    return {"status": "final" if row["state"] == State.FINAL else "provisional", "pending": pending}


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


def _tagged(request: Request, body: bytes, media_type: str, more: dict[str, str] | None = None) -> Response:
    """A body with its digest as the ETag, or 304."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", **_NOSNIFF, **(more or {})}
    if has_tag(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


def _response(body: bytes, form: str, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    safe = _NOSNIFF | {"Vary": "Accept"}
    if form == "html":
        safe["Content-Security-Policy"] = rendering.content_security_policy()
    return Response(body, status, safe | (headers or {}), media_type=rendering.MEDIA_TYPES[form])
