"""Parses requests for reports: week, revision and format from path and Accept, the instant from `as_of`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta

from pydantic import TypeAdapter
from starlette.requests import Request

from schemas.envelope import Instant
from schemas.instant import EARLIEST, LATEST
from schemas.jurisdiction import Jurisdiction, registry
from schemas.week import ReportingCalendar
from services.publisher.site import states
from services.publisher.site.responses import ProblemError
from services.publisher.site.trend import KINDS
from services.runtime.negotiation import preferred

_name = re.compile(r"(latest|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,6})(?:\.(json|csv|html))?").fullmatch
_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_UNESCAPED_PLUS = re.compile(r" (?=[0-9]{2}:[0-9]{2}\Z)")
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
_FORMS = {"application/json": "json", "text/html": "html", "text/csv": "csv"}
_VARY = {"Vary": "Accept"}
NO_SUCH_CODE = (
    "There is no jurisdiction with this code. A county has its five-digit FIPS code, such as 32003; a state has two"
    " digits, a tribe four, and federal custody US."
)
NO_SUCH_STATE = (
    "There is no state with this code. Codes are postal abbreviations, such as NV; /states lists all states."
)


def check_parameters(request: Request, known: Collection[str]) -> None:
    """ProblemError 400 if a query parameter is unknown; it must not be ignored silently."""
    if not request.query_params.keys() <= set(known):
        detail = f"The only query parameter is {', '.join(known)}." if known else "This route has no query parameters."
        raise ProblemError(400, "unknown-parameter", detail)


def report(request: Request) -> tuple[date | None, int | None, str]:
    """The requested week (None: the latest), revision (None: the newest) and format."""
    week, revision, suffix = address(request)
    return week, revision, suffix or _negotiated(request)


def address(request: Request) -> tuple[date | None, int | None, str | None]:
    """The week, revision and suffix of the path. ProblemError 404 if the path is invalid."""
    name = _name(request.path_params["name"])
    number = _name(request.path_params.get("number", "1"))
    has_revision = "number" in request.path_params
    if name is None or number is None or name[1].isdecimal() or not number[1].isdecimal():
        raise ProblemError(404, "report-not-found", "A report's path is /v1/reports/2017-01-28[.json].")
    try:
        week = None if name[1] == "latest" else date.fromisoformat(name[1])
    except ValueError:
        raise ProblemError(404, "report-not-found", "The date does not exist.") from None
    return week, int(number[1]) if has_revision else None, number[2] if has_revision else name[2]


def _negotiated(request: Request) -> str:
    """The format that the Accept header prefers. ProblemError 406 if it accepts none."""
    media_type = preferred(request.headers.getlist("accept"), list(_FORMS))
    if media_type is None:
        detail = "Reports are application/json, text/csv and text/html."
        raise ProblemError(406, "not-acceptable", detail, _VARY)
    return _FORMS[media_type]


def as_of(request: Request, calendar: ReportingCalendar) -> datetime | None:
    """The instant of `as_of`, or None without it. A date is the end of that day in the reporting zone.

    ProblemError 400 if it is neither a date nor an RFC 3339 instant.
    """
    texts = request.query_params.getlist("as_of")
    if not texts:
        return None
    try:
        (text,) = texts
        if not _day(text):
            return _INSTANT.validate_python(_UNESCAPED_PLUS.sub("+", text))
        day = date.fromisoformat(text)
        if EARLIEST.date() <= day < LATEST.date():
            return datetime.combine(day + timedelta(days=1), time.min, calendar.zone) - timedelta(microseconds=1)
    except ValueError:
        pass
    detail = "as_of must be one date (2017-02-06) or one RFC 3339 instant with an offset, in the years 1900 to 2199."
    raise ProblemError(400, "bad-as-of", detail)


def state(request: Request) -> Jurisdiction | None:
    """The state of the parameter `state`, or None if there is a `geoid` instead.

    ProblemError 400 unless there is exactly one of both, 404 for an unknown state.
    """
    codes = request.query_params.getlist("state")
    if len(codes) + len(request.query_params.getlist("geoid")) != 1:
        detail = "Give one geoid, such as /v1/series?geoid=32003, or one state, such as /v1/series?state=NV."
        raise ProblemError(400, "bad-geoid", detail)
    if codes and codes[0] not in states.states():
        raise ProblemError(404, "state-not-found", NO_SUCH_STATE)
    return states.states()[codes[0]] if codes else None


def jurisdiction(request: Request) -> Jurisdiction:
    """The jurisdiction of the parameter `geoid`. ProblemError 404 for an unknown code."""
    if (found := registry().get(request.query_params["geoid"])) is None:
        raise ProblemError(404, "jurisdiction-not-found", NO_SUCH_CODE)
    return found


def kinds(request: Request) -> Sequence[str]:
    """The kind of the parameter `kind`, or both without it. ProblemError 400 if it is not one of them."""
    chosen = request.query_params.getlist("kind")
    if not chosen:
        return KINDS
    if len(chosen) != 1 or chosen[0] not in KINDS:
        raise ProblemError(400, "bad-kind", f"kind must be one of {', '.join(KINDS)}.")
    return chosen


def day(request: Request, name: str) -> date | None:
    """The date of a parameter, or None without it. ProblemError 400 if it is not one date."""
    texts = request.query_params.getlist(name)
    if not texts:
        return None
    try:
        (text,) = texts
        if _day(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ProblemError(400, "bad-date", f"{name} must be one date, such as 2017-01-28.")
