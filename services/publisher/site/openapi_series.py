"""The OpenAPI description of series: of one jurisdiction, and of the sums of one state."""

from __future__ import annotations

from services.publisher.site.places import WEEKS_IN_SERIES
from services.runtime.openapi import Document, content, problem, reference

_COUNT = {"type": "integer", "minimum": 0}
GEOID: Document = {
    "name": "geoid",
    "in": "query",
    "description": "The code of a jurisdiction. Give either this or `state`.",
    "schema": {"type": "string"},
    "example": "32003",
}
STATE: Document = {
    "name": "state",
    "in": "query",
    "description": "The postal abbreviation of a state, for the sums of its counties and its own custody.",
    "schema": {"type": "string"},
    "example": "NV",
}
KIND: Document = {
    "name": "kind",
    "in": "query",
    "description": "Only the numbers of this kind.",
    "schema": {"enum": ["issued", "declined"]},
}
_SERIES_WEEK: Document = {
    "type": "object",
    "description": "The newest revision of a week. A number is null if it is unknown, or without a row in the report.",
    "required": ["week", "revision", "reported"],
    "properties": {
        "week": {"type": "string", "format": "date"},
        "revision": {"type": "integer", "minimum": 1},
        "reported": {"type": "boolean", "description": "Whether the report has a row of the jurisdiction."},
        "issued": {"type": ["integer", "null"], "minimum": 0},
        "declined": {"type": ["integer", "null"], "minimum": 0},
    },
}
_STATE_WEEK: Document = {
    "type": "object",
    "description": "The newest revision of a week. A sum covers the known numbers; it is null if there is none.",
    "required": ["week", "revision", "jurisdictions"],
    "properties": {
        "week": {"type": "string", "format": "date"},
        "revision": {"type": "integer", "minimum": 1},
        "jurisdictions": _COUNT | {"description": "Jurisdictions of the state with a row in the report."},
        "issued": {"type": ["integer", "null"], "minimum": 0},
        "declined": {"type": ["integer", "null"], "minimum": 0},
        "unknown_issued": _COUNT | {"description": "Of these jurisdictions, those with an unknown number."},
        "unknown_declined": _COUNT,
    },
}
SCHEMAS = {"SeriesWeek": _SERIES_WEEK, "StateWeek": _STATE_WEEK}


def responses() -> Document:
    """The responses with a series, and for an unknown place."""
    text = {"type": "string"}
    one = {
        "type": "object",
        "required": ["geoid", "name", "state", "weeks"],
        "properties": {
            "geoid": text,
            "name": text,
            "state": text | {"description": "Postal abbreviation; empty for federal custody and tribes."},
            "weeks": _weeks("SeriesWeek"),
        },
    }
    sums = {
        "type": "object",
        "required": ["state", "name", "weeks"],
        "properties": {"state": text, "name": text, "weeks": _weeks("StateWeek")},
        "additionalProperties": False,
    }
    return {
        "200": {
            "description": f"The newest {WEEKS_IN_SERIES:,} of the weeks at most, in order. `to` selects earlier ones.",
            "content": content("application/json", {"oneOf": [one, sums]}),
        },
        "404": problem("There is no jurisdiction or state with this code."),
    }


def _weeks(schema: str) -> Document:
    return {"type": "array", "maxItems": WEEKS_IN_SERIES, "items": reference(schema)}
