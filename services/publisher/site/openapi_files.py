"""The responses of the files of all weeks and of the code lists, for the OpenAPI document."""

from __future__ import annotations

from services.publisher.site import code_lists, data_package, figure_files
from services.runtime.openapi import Document, content, problem

_TEXT: Document = {"type": "string"}
_NOT_MODIFIED: Document = {"description": "The ETag is in If-None-Match, or that is `*`."}
_ETAG: Document = {"ETag": {"description": "Changes with each report.", "schema": _TEXT}}
_STATUSES = "; ".join(f"`{code}`: {meaning}" for code, meaning in figure_files.STATUSES.items())


def figures() -> Document:
    """The responses of a file of figures."""
    columns = ", ".join(figure_files.FIGURE_COLUMNS)
    description = f"Columns: {columns}. Status: {_STATUSES}. A connection that closes early means an incomplete file."
    return {
        "200": {"description": description, "headers": _ETAG, "content": content("text/csv", _TEXT)},
        "304": _NOT_MODIFIED,
    }


def package() -> Document:
    """The responses of the data package."""
    names = (data_package.DESCRIPTION, data_package.README, *map(data_package.file_name, data_package.RESOURCES))
    archive = {"description": f"A ZIP archive with {', '.join(names)}.", "headers": _ETAG}
    return {
        "200": archive | {"content": content("application/zip", {"type": "string", "format": "binary"})},
        "304": _NOT_MODIFIED,
        "503": problem(
            "The archive is being made, or the reports are temporarily unavailable. Retry later.", retry=True
        ),
    }


def codes() -> Document:
    """The responses of the code lists."""
    lists: Document = {
        one.name: _list(f"{one.title}.", dict.fromkeys(one.columns, _TEXT)) for one in code_lists.lists()
    }
    lists["jurisdictions"] = _list(
        "All codes, also former ones.",
        {
            "geoid": _TEXT,
            "name": _TEXT,
            "state": _TEXT | {"description": "Postal abbreviation; empty for federal custody and tribes."},
            "kind": _TEXT,
            "editions": {"type": "array", "items": _TEXT, "description": "Census years in which the code is valid."},
        },
    )
    lists["successions"] = _list(
        "Pairs of codes of one area.",
        {
            "predecessor": _TEXT,
            "successor": _TEXT,
            "since": {"type": ["string", "null"], "format": "date", "description": "null: both codes are in use."},
        },
    )
    digests = {"type": "object", "additionalProperties": _TEXT}
    lists["inputs"] = digests | {"description": "SHA-256 of the lists, as in the `inputs` of a report that used them."}
    schema = {"type": "object", "required": sorted(lists), "properties": lists}
    return {
        "200": {"description": "The lists.", "content": content("application/json", schema)},
        "304": _NOT_MODIFIED,
    }


def _list(description: str, properties: Document) -> Document:
    items = {"type": "object", "required": list(properties), "properties": properties}
    return {"type": "array", "description": description, "items": items}
