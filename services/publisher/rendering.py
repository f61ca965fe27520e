"""One document, three renderings that agree: JSON, CSV and a page."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from functools import cache
from typing import Any

import rfc8785
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
}
CSV_COLUMNS = ("week_start", "week_end", "revision", "geoid", "name", "state", "issued", "declined")

Document = dict[str, Any]


def render(document: Document, form: str, standing: Document | None = None) -> bytes:
    """The report's document in one of the formats of MEDIA_TYPES. `standing` is for the page, see `as_html`."""
    return as_html(document, standing) if form == "html" else {"json": as_json, "csv": as_csv}[form](document)


def as_json(document: Document) -> bytes:
    """Canonical JSON (RFC 8785): whoever has the file can compute its digests."""
    return rfc8785.dumps(document)


def as_csv(document: Document) -> bytes:
    """The jurisdictions, RFC 4180; an unknown number is empty. Demonstration data carry a last column that says so."""
    notes = " ".join(document["notes"]) if document["demonstration"] else None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS if notes is None else (*CSV_COLUMNS, "note"))
    week = (document["week_start"], document["week_end"], document["revision"])
    for row in document["jurisdictions"]:
        cells = (*week, *(_cell(row[column]) for column in CSV_COLUMNS[3:]))
        writer.writerow(cells if notes is None else (*cells, notes))
    return text.getvalue().encode()


def as_html(document: Document, standing: Document | None = None) -> bytes:
    """The page of one report. `standing`: its week's status, what came since and the newest revision, as of now."""
    page = _templates().get_template("report.html")
    return page.render(report=document, standing=standing, style=_style()).encode()


def front_page(reports: list[Document]) -> bytes:
    """The page that lists all weeks."""
    return _templates().get_template("index.html").render(reports=reports, style=_style()).encode()


def unavailable_page() -> bytes:
    """The page that says that there is none now."""
    return _templates().get_template("unavailable.html").render(style=_style()).encode()


@cache
def content_security_policy() -> str:
    """Only the page's own style is allowed, by its digest; no script, no other origin."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; names come from the registry, but a file outlives its program."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value


def _attested(row: Document, kind: str) -> str:
    """What an agency attests of a kind, and the difference where there is one."""
    attested, missing = row[f"attested_{kind}"], row[f"missing_{kind}"]
    if attested is None:
        return ""
    return f"{attested:,} ({missing:+,})" if missing else f"{attested:,}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("services.publisher"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: "unknown" if value is None else f"{value:,}"
    environment.filters["figure"] = lambda value: "no figure" if value is None else f"{value:,}"
    environment.filters["attested"] = _attested
    environment.filters["place"] = lambda row: f"{row['name']}, {row['state']}" if row["state"] else row["name"]
    environment.filters["signed"] = lambda n: f"{n:+,}" if n else "0"
    environment.filters["share"] = lambda part, whole: f"{part / whole:.0%}" if whole else "none"
    return environment


@cache
def _style() -> str:
    loader = _templates().loader
    assert loader is not None
    source, _, _ = loader.get_source(_templates(), "style.css")
    return re.sub(r"\s+", " ", source).strip()
