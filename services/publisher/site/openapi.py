"""The OpenAPI document of the publisher."""

from __future__ import annotations

from schemas.export import add_digest
from schemas.report import Report
from services.publisher.site import openapi_files, openapi_series
from services.publisher.site.openapi_series import GEOID, KIND, STATE
from services.runtime import openapi
from services.runtime.openapi import Document, content, problem, reference

_DESCRIPTION = (
    "The weekly reports, one for each closed week, in numbered revisions that never change. Responses are compressed"
    " with zstd or gzip, as Accept-Encoding prefers."
)
_AWAY = "The reports are temporarily unavailable: PostgreSQL is down, or too many readers wait. Retry later."
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_COUNT = {"type": "integer", "minimum": 0}
_LISTED: Document = {
    "type": "object",
    "description": "The newest revision of a week.",
    "required": ["week", "revision", "digest", "published_at", "demonstration", "totals", "links"],
    "properties": {
        "week": {"type": "string", "format": "date"},
        "revision": {"type": "integer", "minimum": 1},
        "digest": _SHA256,
        "published_at": {"type": "string", "format": "date-time"},
        "demonstration": {"type": "boolean"},
        "totals": {"type": "object", "properties": {"issued": _COUNT, "declined": _COUNT}},
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
        "status": {"enum": ["provisional", "final"], "description": "The current status; absent with `as_of`."},
        "pending": {
            "type": "object",
            "description": "Facts counted since this revision, as of now; absent with `as_of` and for a final week.",
            "properties": {"issued": {"type": "integer"}, "declined": {"type": "integer"}},
        },
    },
}
_AS_OF: Document = {
    "name": "as_of",
    "in": "query",
    "description": "Show the reports as published at an RFC 3339 instant, or at the end of a day.",
    "schema": {"type": "string"},
    "example": "2017-02-06",
}
_WEEK: Document = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The first day of the week, or `latest`; optional suffix .json, .csv or .html, else Accept decides.",
    "schema": {"type": "string"},
    "example": "2017-01-28.json",
}
_WEEK_NAME: Document = _WEEK | {"description": "The first day of the week, or `latest`.", "example": "2017-01-28"}
_NOT_MODIFIED: Document = {"description": "The ETag is in If-None-Match, or that is `*`."}
_NUMBER: Document = {
    "name": "number",
    "in": "path",
    "required": True,
    "description": "The revision, from 1, with an optional suffix .json, .csv or .html.",
    "schema": {"type": "string"},
    "example": "1",
}


def document() -> Document:
    """The OpenAPI document. The schema of a report comes from its model."""
    schemas = openapi.models(Report, mode="serialization") | {"Listed": _LISTED, **openapi_series.SCHEMAS}
    add_digest(schemas["Report"])
    return openapi.document("Publisher", _DESCRIPTION, _paths(), schemas)


def _paths() -> Document:
    return {
        "/": _page("The latest week", [_AS_OF], missing=False),
        "/reports": _page("All weeks, newest first", [_BEFORE], missing=False),
        "/reports/{name}": _page("A week", [_WEEK_NAME, _AS_OF]),
        "/jurisdictions/{geoid}": _page("A jurisdiction", [_path(GEOID, "The code of a jurisdiction.")]),
        "/states": _page("All states", [], missing=False),
        "/states/{postal}": _state_page(),
        "/calendar": _page("The release calendar", [], missing=False),
        "/calendar.ics": _get("The release calendar as iCalendar (RFC 5545).", [], _icalendar()),
        "/method": _page("How the figures are made, and the terms", [], missing=False),
        "/codes": _page("The code lists", [], missing=False),
        "/v1/codes": _get("The code lists of reports and files.", [], openapi_files.codes()),
        "/v1/all.csv": _get("The newest figures of all weeks, a line for each number.", [], openapi_files.figures()),
        "/v1/revisions.csv": _get("The figures of all revisions, a line for each number.", [], openapi_files.figures()),
        "/v1/datapackage.zip": _get("All figures as a data package.", [], openapi_files.package()),
        "/feed.atom": _get("The newest revisions as an Atom feed.", [], _feed()),
        "/v1/series": _get(
            "The published figures of one jurisdiction, or the sums of one state, by week.",
            [GEOID, STATE, KIND, _day("from", "on this day or later"), _day("to", "on this day or earlier"), _AS_OF],
            {"304": _NOT_MODIFIED, **openapi_series.responses()},
        ),
        "/v1/reports": _get("The newest revision of each week, newest week first.", [_AS_OF, _BEFORE], _list()),
        "/v1/reports/stream": _get("The announcements on `report-ready`, without an end.", _RESUMING, _stream()),
        "/v1/reports/{name}": _get("The newest revision of a week's report.", [_WEEK, _AS_OF], _report()),
        "/v1/reports/{name}/revisions/{number}": _get("One revision.", [_WEEK, _NUMBER, _AS_OF], _report()),
        "/v1/reports/{name}/revisions/{number}/line-list": _get(
            "The line list of a revision, if it has one.", [_WEEK, _NUMBER], _line_list()
        ),
    }


_REFUSED_CODING = problem("Accept-Encoding allows none of zstd, gzip and identity.")


def _page(what: str, parameters: list[Document], *, missing: bool = True) -> Document:
    """A page for people. Its problems are pages too."""
    html = content("text/html", {"type": "string"})
    responses: Document = {
        "200": {"description": "An HTML page.", "content": html},
        "304": _NOT_MODIFIED,
        "400": {"description": "A query parameter is invalid or unknown.", "content": html},
        "406": _REFUSED_CODING,
        "503": openapi.retried(_AWAY, html),
    }
    if missing:
        # The server refuses a path with encoded control characters before the route: as JSON.
        missing_page = problem("There is no such page, or not yet.")
        responses["404"] = missing_page | {"content": html | missing_page["content"]}
    summary = f"{what}, as a page for people."
    return {"get": {"summary": summary, "tags": ["pages"], "parameters": parameters, "responses": responses}}


def _get(summary: str, parameters: list[Document], responses: Document) -> Document:
    """A file for programs."""
    common = {
        "400": problem("A query parameter is missing, invalid, repeated or unknown."),
        "406": _REFUSED_CODING,
        "503": problem(_AWAY, retry=True),
    }
    return {"get": {"summary": summary, "tags": ["reports"], "parameters": parameters, "responses": common | responses}}


def _day(name: str, which: str) -> Document:
    return {
        "name": name,
        "in": "query",
        "description": f"Only weeks that begin {which}.",
        "schema": {"type": "string", "format": "date"},
        "example": "2017-01-28",
    }


_BEFORE: Document = _day("before", "before this day")


def _list() -> Document:
    schema = {
        "type": "object",
        "required": ["reports"],
        "properties": {"reports": {"type": "array", "items": reference("Listed")}},
    }
    link = {"description": "The list of older weeks, with `rel=next`.", "schema": {"type": "string"}}
    return {
        "200": {
            "description": "At most 520 weeks.",
            "headers": {"Link": link},
            "content": content("application/json", schema),
        },
        "304": _NOT_MODIFIED,
    }


def _path(parameter: Document, description: str) -> Document:
    return parameter | {"in": "path", "required": True, "description": description}


def _state_page() -> Document:
    page = _page("A state", [_path(STATE | {"name": "postal"}, "The postal abbreviation of a state.")])
    page["get"]["responses"]["308"] = {"description": "The code in upper case."}
    return page


_RESUMING: list[Document] = [
    {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The id of the last event that the client has. The stream continues after it.",
        "schema": {"type": "string"},
    },
    {
        "name": "from",
        "in": "query",
        "description": "As Last-Event-ID, if that is missing. Without both, the stream begins with the next event.",
        "schema": {"type": "string"},
        "example": "beginning",
    },
]


def _stream() -> Document:
    described = "Server-sent events: `data` is the value of the record on `report-ready`, `id` its offset."
    return {
        "200": {"description": described, "content": content("text/event-stream", {"type": "string"})},
        "400": problem("The id is malformed, or the stream has no event with it."),
        "503": problem(f"{_AWAY} Or too many streams are open.", retry=True),
    }


def _icalendar() -> Document:
    return {
        "200": {
            "description": "An event for each close in the next 12 months.",
            "content": content("text/calendar", {"type": "string"}),
        },
        "304": _NOT_MODIFIED,
    }


def _feed() -> Document:
    tag = {"description": "Changes with each revision.", "schema": {"type": "string"}}
    return {
        "200": {
            "description": "An entry for each revision, newest first.",
            "headers": {"ETag": tag},
            "content": content("application/atom+xml", {"type": "string"}),
        },
        "304": _NOT_MODIFIED,
    }


def _line_list() -> Document:
    rows = {"type": "array", "items": {"type": "object"}}
    remainder = {
        "type": ["integer", "null"],
        "description": "In a coarse list: persons in cells below five.",
    }
    listed = {"type": "object", "required": ["rows"], "properties": {"rows": rows, "remainder": remainder}}
    return {
        "200": {"description": "The list.", "content": content("application/json", listed)},
        "304": _NOT_MODIFIED,
        "404": problem("The revision has no line list."),
        "410": problem("The list was withdrawn."),
    }


def _report() -> Document:
    text = {"schema": {"type": "string"}}
    headers = {
        "ETag": {"description": "Changes with the revision and the format.", **text},
        "Report-Status": {"description": "The current status: provisional or final; absent with `as_of`.", **text},
        "Report-Pending": {"description": "Facts counted since, such as: issued=+1, declined=0.", **text},
        "Report-Newest-Revision": {"description": "The week's newest revision.", "schema": {"type": "integer"}},
    }
    return {
        "200": {
            "description": "The report.",
            "headers": headers,
            "content": content("application/json", reference("Report"))
            | content("text/csv", {"type": "string"})
            | content("text/html", {"type": "string"}),
        },
        "304": _NOT_MODIFIED,
        "404": problem("There is no such report, or not yet."),
        "406": problem("Accept allows none of JSON, CSV and HTML, or Accept-Encoding no coding."),
    }
