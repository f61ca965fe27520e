"""The data package: a description of the files of all weeks that programs can read (Data Package, version 2). Pure.

The files are in one archive, `datapackage.zip`. Same reports, same description: it names no time but that of the
newest report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, get_args

from schemas.detainer import Kind
from schemas.jurisdiction import JurisdictionKind, registry
from schemas.report import RevisionCause, sha256_of
from services.publisher.site import csv_text, figure_files

DESCRIPTION: Final = "datapackage.json"
README: Final = "README.md"
FIGURES, REVISIONS, WEEKS, JURISDICTIONS = RESOURCES = ("figures", "revisions", "weeks", "jurisdictions")
_PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
_FORM = 1
"""The first part of the package's version. It increases if a column is removed or has another meaning."""
_GEOID_PATTERN = "^([0-9]{2}|[0-9]{4}|[0-9]{5}|US)$"
_JURISDICTION_COLUMNS = ("geoid", "name", "state", "kind")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the archive: its length in bytes and the SHA-256 of its content, in hex."""

    length: int
    sha256: str


def file_name(resource: str) -> str:
    """The name of a data file in the archive."""
    return f"{resource}.csv"


@cache
def jurisdictions() -> bytes:
    """The file of all jurisdictions."""
    rows = ((one.code, one.name, one.state, one.kind.value) for one in registry())
    return csv_text.encode((_JURISDICTION_COLUMNS, *rows))


@cache
def readme() -> bytes:
    """The explanation for people."""
    return files("services.publisher.site").joinpath("data_package.md").read_bytes()


@cache
def form_digest() -> str:
    """A digest of everything in the archive that does not come from reports."""
    empty = dict.fromkeys(RESOURCES, Written(0, ""))
    fixed = [jurisdictions().decode(), readme().decode()]
    return sha256_of([*fixed, describe(empty, sequence=0, created=None)])


def describe(written: Mapping[str, Written], *, sequence: int, created: datetime | None) -> Document:
    """The content of `datapackage.json`. `written`: the data files, by resource.

    `sequence` and `created` are number and instant of the newest report; 0 and None without any.
    """
    package: Document = {
        "$schema": _PROFILE,
        "name": "weekly-detainer-report",
        "title": "Weekly detainer report: all published figures",
        "description": (
            "Detainers issued and declined, by week and jurisdiction, in all published revisions. An empty number is"
            " unknown, which differs from 0. Issued and declined are different cohorts. The publisher of the report"
            " states the terms of use; this package grants no license. README.md explains the files."
        ),
        "version": f"{_FORM}.{sequence}.0",
        "keywords": ["detainers", "counties", "weekly"],
        "resources": [_resource(name, schema, written[name]) for name, schema in _SCHEMAS.items()],
    }
    return package if created is None else package | {"created": f"{created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}


def _resource(name: str, schema: Document, written: Written) -> Document:
    title, fields, key, foreign = schema["title"], schema["fields"], schema["key"], schema["foreign"]
    return {
        "name": name,
        "title": title,
        "type": "table",
        "path": file_name(name),
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": written.length,
        "hash": f"sha256:{written.sha256}",
        "schema": {
            "fieldsMatch": "exact",
            "missingValues": [""],
            "fields": fields,
            "primaryKey": list(key),
            "foreignKeys": [
                {"fields": list(columns), "reference": {"resource": other, "fields": list(columns)}}
                for other, columns in foreign.items()
            ],
        },
    }


def _field(name: str, kind: str, description: str, *, required: bool = True, **constraints: Any) -> Document:
    """A column. `required`: no cell is empty."""
    rules = {"required": True, **constraints} if required else constraints
    return {"name": name, "type": kind, "description": description, "constraints": rules}


_WEEK: Final = _field("week", "date", "First day of the week")
_REVISION: Final = _field("revision", "integer", "Number of the revision, from 1", minimum=1)
_GEOID: Final = _field(
    "geoid",
    "string",
    "Code of the jurisdiction, as text: five digits for a county, two for a state, four for a tribe, US",
    pattern=_GEOID_PATTERN,
)
_KINDS: Final[Sequence[str]] = [kind.value for kind in Kind]
_FIGURE_FIELDS: Final = [
    _WEEK,
    _REVISION,
    _GEOID,
    _field("kind", "string", "issued or declined", enum=_KINDS),
    _field("n", "integer", "Number of detainers. Empty: unknown", required=False, minimum=0),
    _field("status", "string", "Of the number", enum=list(figure_files.STATUSES)),
]
_WEEK_FIELDS: Final = [
    _WEEK,
    _field("week_end", "date", "Last day of the week"),
    _REVISION,
    _field("cause", "string", "Why the revision was made", enum=list(get_args(RevisionCause))),
    _field("published_at", "datetime", "When it was published, in UTC"),
    _field("digest", "string", "SHA-256 of the report's document", pattern="^[0-9a-f]{64}$", unique=True),
    *(_field(kind, "integer", f"All detainers {kind}", minimum=0) for kind in _KINDS),
    _field("demonstration", "boolean", "Whether the report is of demonstration data"),
]
_JURISDICTION_FIELDS: Final = [
    _GEOID,
    _field("name", "string", "Name. It identifies nothing: 31 counties are called Washington"),
    _field("state", "string", "Postal abbreviation. Empty for federal custody and tribes", required=False),
    _field("kind", "string", "Kind of jurisdiction", enum=[kind.value for kind in JurisdictionKind]),
]
_FIGURE_KEYS: Final = {
    "fields": _FIGURE_FIELDS,
    "key": ("week", "revision", "geoid", "kind"),
    "foreign": {JURISDICTIONS: ("geoid",), WEEKS: ("week", "revision")},
}
_SCHEMAS: Final[Mapping[str, Document]] = {
    FIGURES: {"title": "The newest revision of each week", **_FIGURE_KEYS},
    REVISIONS: {"title": "All revisions of each week", **_FIGURE_KEYS},
    WEEKS: {
        "title": "Revisions with totals, times and digests",
        "fields": _WEEK_FIELDS,
        "key": ("week", "revision"),
        "foreign": {},
    },
    JURISDICTIONS: {"title": "Jurisdictions", "fields": _JURISDICTION_FIELDS, "key": ("geoid",), "foreign": {}},
}
