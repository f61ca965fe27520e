"""The OpenAPI document of the publisher."""

from __future__ import annotations

from schemas.export import add_digest
from schemas.report import Report
from services.runtime import openapi
from services.runtime.openapi import Document, content, problem, reference

_DESCRIPTION = "The weekly reports, one for each closed week, in numbered revisions that never change."
_AWAY = "Reports cannot be read now: PostgreSQL is away. Ask again."
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
        "status": {"enum": ["provisional", "final"], "description": "Today; absent with `as_of`."},
        "pending": {
            "type": "object",
            "description": "What has been counted since, today; absent with `as_of`.",
            "properties": {"issued": {"type": "integer"}, "declined": {"type": "integer"}},
        },
    },
}
_AS_OF: Document = {
    "name": "as_of",
    "in": "query",
    "description": "What was published as of an RFC 3339 instant, or of the end of a day.",
    "schema": {"type": "string"},
    "example": "2017-02-06",
}
_WEEK: Document = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The week's first date, or latest; .json, .csv or .html may follow, else Accept decides.",
    "schema": {"type": "string"},
    "example": "2017-01-28.json",
}
_NUMBER: Document = {
    "name": "number",
    "in": "path",
    "required": True,
    "description": "The revision, from 1; .json, .csv or .html may follow.",
    "schema": {"type": "string"},
    "example": "1",
}


def document() -> Document:
    """The document, from the model of a report."""
    schemas = openapi.models(Report, mode="serialization") | {"Listed": _LISTED}
    add_digest(schemas["Report"])
    return openapi.document("Publisher", _DESCRIPTION, _paths(), schemas)


def _paths() -> Document:
    html = content("text/html", {"type": "string"})
    page = {"200": {"description": "A page.", "content": html}, "503": openapi.retried(_AWAY, html)}
    listed = {
        "type": "object",
        "required": ["reports"],
        "properties": {"reports": {"type": "array", "items": reference("Listed")}},
    }
    found = {"200": {"description": "Newest week first.", "content": content("application/json", listed)}}
    bad = {"400": problem("as_of cannot be understood.")}
    return {
        "/": {"get": {"summary": "The weeks, for people.", "tags": ["reports"], "responses": page}},
        "/v1/reports": _get("The newest revision of each week.", [_AS_OF], found | bad),
        "/v1/reports/{name}": _get("One week's report, the newest revision.", [_WEEK, _AS_OF], _report() | bad),
        "/v1/reports/{name}/revisions/{number}": _get("One revision.", [_WEEK, _NUMBER, _AS_OF], _report() | bad),
        "/v1/reports/{name}/revisions/{number}/line-list": _get(
            "The list of declines beside a revision, where there is one.", [_WEEK, _NUMBER], _line_list()
        ),
    }


def _get(summary: str, parameters: list[Document], responses: Document) -> Document:
    away = {"503": problem(_AWAY, retry=True)}
    return {"get": {"summary": summary, "tags": ["reports"], "parameters": parameters, "responses": responses | away}}


def _line_list() -> Document:
    rows = {"type": "array", "items": {"type": "object"}}
    remainder = {"type": ["integer", "null"], "description": "Of a coarse list: persons in cells below five."}
    listed = {"type": "object", "required": ["rows"], "properties": {"rows": rows, "remainder": remainder}}
    return {
        "200": {"description": "The list.", "content": content("application/json", listed)},
        "404": problem("There is none with this revision."),
        "410": problem("It was withdrawn."),
    }


def _report() -> Document:
    text = {"schema": {"type": "string"}}
    headers = {
        "ETag": {"description": "Changes with the revision and the format.", **text},
        "Report-Status": {"description": "provisional or final, today; absent with `as_of`.", **text},
        "Report-Pending": {"description": "What has been counted since: issued=+1, declined=0.", **text},
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
        "304": {"description": "It is the one that If-None-Match names."},
        "404": problem("There is no such report (yet)."),
        "406": problem("Reports are JSON, CSV and pages."),
    }
