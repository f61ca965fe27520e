"""Reading reports over HTTP: a list, the latest, a week, a revision; as JSON, CSV or a page; as of an instant."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import asyncpg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schemas.report import links, sha256_of
from schemas.week import ReportingCalendar
from services.publisher import rendering
from services.publisher.closing import State
from services.publisher.snapshot import SQL
from services.runtime.errors import is_transient
from services.runtime.logs import get
from services.runtime.problems import problem

_NAME = re.compile(r"^(latest|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,6})(?:\.(json|csv|html))?$")
_ACCEPTED = {"application/json": "json", "text/csv": "csv", "text/html": "html", "*/*": "json", "text/*": "html"}


log = get(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_PATIENCE = 4.0
"""Seconds for each of: a connection, the answer, and taking a statement back that was not answered."""
_RETRY = {"Retry-After": "5"}


class BadRequestError(Exception):
    """The address or a header cannot be understood; the response says why."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _unavailable() -> Response:
    return problem(503, "reports-unavailable", "The reports cannot be read now; ask again.", _RETRY)


def _page_unavailable() -> Response:
    return _response(rendering.unavailable_page(), "html", _RETRY, 503)


class Reports:
    """The read side. Any number of processes may serve it."""

    def __init__(self, connect: Callable[[], asyncpg.Pool[Any]], calendar: ReportingCalendar) -> None:
        self._connect = connect
        self._calendar = calendar
        self._away = False

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Hold the connections that the routes use, for as long as the service runs."""
        stack = AsyncExitStack()
        self._pool = await stack.enter_async_context(self._connect())
        try:
            yield
        finally:
            # A server that is cut off answers no farewell. A pool whose closing is cut short is terminated.
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await stack.aclose()

    @property
    def routes(self) -> list[Route]:
        """The routes of the public interface."""
        return [
            Route("/", self._reading(self.front_page, _page_unavailable)),
            Route("/v1/reports", self._reading(self.list_reports)),
            Route("/v1/reports/{name}", self._reading(self.show)),
            Route("/v1/reports/{name}/revisions/{number}", self._reading(self.show)),
            Route("/v1/reports/{name}/revisions/{number}/line-list", self._reading(self.show_list)),
        ]

    def _reading(self, endpoint: Endpoint, unavailable: Callable[[], Response] = _unavailable) -> Endpoint:
        """The endpoint, or 503 while PostgreSQL is away. The log says once that it is, and once that it is back."""

        async def answer(request: Request) -> Response:
            try:
                response = await endpoint(request)
            except Exception as error:
                if not is_transient(error):
                    raise
                if not self._away:
                    log.warning("reports-unavailable", error=type(error).__name__)
                self._away = True
                return unavailable()
            if self._away and response.status_code < 400:
                log.info("reports-available")
                self._away = False
            return response

        return answer

    async def waiting_for(self) -> str | None:
        """None when reports can be read, else what is missing."""
        try:
            await self._rows("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return f"PostgreSQL: {type(error).__name__}"
        return None

    async def _rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """What the statement answers. TimeoutError when a server hangs, which takes no statement back either."""
        async with self._pool.acquire(timeout=_PATIENCE) as connection:
            return await connection.fetch(statement, *arguments, timeout=_PATIENCE)

    async def _row(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        return next(iter(await self._rows(statement, *arguments)), None)

    async def front_page(self, _: Request) -> Response:
        """The page for people."""
        rows = await self._rows(SQL["reports"], None)
        return _response(rendering.front_page([_listed(row) | _now(row) for row in rows]), "html")

    async def list_reports(self, request: Request) -> Response:
        """The newest revision of each week, newest week first."""
        try:
            as_of = self._as_of(request)
        except BadRequestError as error:
            return error.response
        rows = await self._rows(SQL["reports"], as_of)
        return JSONResponse({"reports": [_listed(row) | ({} if as_of else _now(row)) for row in rows]})

    async def show(self, request: Request) -> Response:
        """One report: the newest revision of a week, or the one asked for."""
        try:
            week, revision, form = _asked(request)
            as_of = self._as_of(request)
        except BadRequestError as error:
            return error.response
        row = await self._row(SQL["report"], week, revision, as_of)
        if row is None:
            detail = "There is no such report (yet); /v1/reports lists those that are there."
            return problem(404, "report-not-found", detail)
        standing = None if as_of else _standing(row)
        shown = sha256_of(standing)[:8] if form == "html" else ""
        headers = {"ETag": f'"{row["digest"][:32]}-{form}{shown}"', "Cache-Control": "no-cache", **_told(standing)}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return _response(rendering.render(row["figures"], form, standing), form, headers)

    async def show_list(self, request: Request) -> Response:
        """The line list that stands with a revision; 410 when it was withdrawn."""
        try:
            week, revision, _ = _asked(request)
        except BadRequestError as error:
            return error.response
        row = await self._row(SQL["line_list"], week, revision)
        if row is None:
            return problem(404, "line-list-not-found", "There is no line list with this revision.")
        if row["content"] is None:
            return problem(410, "line-list-withdrawn", "The line list was withdrawn; its digest stands in the report.")
        return _response(row["content"], "json")

    def _as_of(self, request: Request) -> datetime | None:
        """An RFC 3339 instant, or a date, which means the end of that day in the reporting zone."""
        text = request.query_params.get("as_of")
        if text is None:
            return None
        try:
            if len(text) == 10:
                day = date.fromisoformat(text) + timedelta(days=1)
                return datetime.combine(day, time.min, self._calendar.zone) - timedelta(microseconds=1)
            instant = datetime.fromisoformat(text.replace(" ", "+"))
            if instant.tzinfo is not None:
                return instant.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        detail = "as_of must be a date (2017-02-06) or an RFC 3339 instant with an offset."
        raise BadRequestError(problem(400, "bad-as-of", detail))


def _asked(request: Request) -> tuple[date | None, int | None, str]:
    """Week (None: the latest), revision (None: the newest) and format that a request is for."""
    name = _NAME.match(request.path_params["name"])
    number = _NAME.match(request.path_params.get("number", "1"))
    revision_asked = "number" in request.path_params
    if name is None or number is None or name[1].isdecimal() or not number[1].isdecimal():
        raise BadRequestError(problem(404, "report-not-found", "A report's address is /v1/reports/2017-01-28[.json]."))
    try:
        week = None if name[1] == "latest" else date.fromisoformat(name[1])
    except ValueError:
        raise BadRequestError(problem(404, "report-not-found", "There is no such date.")) from None
    suffix = number[2] if revision_asked else name[2]
    return week, int(number[1]) if revision_asked else None, suffix or _negotiated(request)


def _negotiated(request: Request) -> str:
    """The format that Accept prefers; by order, as a browser's and a program's headers are written."""
    for choice in request.headers.get("accept", "*/*").split(","):
        form = _ACCEPTED.get(choice.partition(";")[0].strip().lower())
        if form is not None:
            return form
    raise BadRequestError(problem(406, "not-acceptable", "Reports are application/json, text/csv and text/html."))


def _listed(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "week": row["week"].isoformat(),
        "revision": row["revision"],
        "digest": row["digest"],
        "published_at": row["published_at"].isoformat(),
        "demonstration": row["demonstration"],
        "totals": row["totals"],
        "links": links(row["week"], row["revision"]),
    }


def _now(row: asyncpg.Record) -> dict[str, Any]:
    """What is true of a week today and stands in no document: whether it is final, and what came since."""
    counted, totals = row["now"] or {}, row["totals"]
    pending = {kind: counted.get(kind, 0) - totals[kind] for kind in ("issued", "declined")}
    return {"status": "final" if row["state"] == State.FINAL else "provisional", "pending": pending}


def _standing(row: asyncpg.Record) -> dict[str, Any]:
    return {**_now(row), "newest": row["newest"]}


def _told(standing: dict[str, Any] | None) -> dict[str, str]:
    """The same as headers: the document itself is what its digest covers."""
    if standing is None:
        return {}
    return {
        "Report-Status": standing["status"],
        "Report-Pending": ", ".join(f"{kind}={n:+d}" if n else f"{kind}=0" for kind, n in standing["pending"].items()),
        "Report-Newest-Revision": str(standing["newest"]),
    }


def _response(body: bytes, form: str, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    safe = {"X-Content-Type-Options": "nosniff", "Vary": "Accept"}
    if form == "html":
        safe["Content-Security-Policy"] = rendering.content_security_policy()
    return Response(body, status, safe | (headers or {}), media_type=rendering.MEDIA_TYPES[form])
