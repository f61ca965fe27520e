"""Renders a report as JSON, CSV or HTML, all from the same document."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from schemas.jurisdiction import Jurisdiction
from services.publisher.site import code_lists, csv_text, series, states, trend, week_page

MEDIA_TYPES = {
    "json": "application/json",
    "csv": csv_text.MEDIA_TYPE,
    "html": "text/html; charset=utf-8",
}
CSV_COLUMNS = ("week_start", "week_end", "revision", "geoid", "name", "state", "issued", "declined", "note")
WEEKS_SHOWN = 520
"""The greatest number of weeks on the page of a jurisdiction."""

_UNKNOWN = Markup('<abbr title="unknown">U</abbr>')
_UNITS = ((3_600, "hour"), (60, "minute"), (1, "second"))
NAVIGATION = (
    ("/", "Latest week"),
    ("/reports", "All weeks"),
    ("/states", "States"),
    ("/calendar", "Calendar"),
    ("/method", "Method"),
    ("/codes", "Codes"),
    ("/feed.atom", "Feed"),
)
"""The links on each page. A template sets `here` to the address of its own."""

Document = dict[str, Any]


def render(document: Document, form: str, context: Document | None = None) -> bytes:
    """Render a report in one of the formats of MEDIA_TYPES. `context` is for HTML only."""
    return as_html(document, context) if form == "html" else {"json": as_json, "csv": as_csv}[form](document)


def as_json(document: Document) -> bytes:
    """Canonical JSON (RFC 8785): the digests can be computed from the file.

    msgspec writes the same bytes as rfc8785 for a document without floats and with ASCII keys, in a tenth of the time.
    """
    return msgspec.json.encode(document, order="sorted")


def as_csv(document: Document) -> bytes:
    """The jurisdictions as CSV. An unknown number is empty. `note` is empty except for demonstration data."""
    note = " ".join(document["notes"]) if document["demonstration"] else None
    week = (document["week_start"], document["week_end"], document["revision"])
    rows = ((*week, *(row[column] for column in CSV_COLUMNS[3:-1]), note) for row in document["jurisdictions"])
    return csv_text.encode((CSV_COLUMNS, *rows))


def as_html(document: Document, context: Document | None = None) -> bytes:
    """The page of one report. `context` is what the document does not contain, see `week_page.variables`."""
    files = {"json": as_json(document), "csv": as_csv(document)}
    return page("report.html", **week_page.variables(document, context, files))


def list_page(reports: list[Document], older: date | None) -> bytes:
    """The page that lists weeks. `older`: the week before which the next page begins, None on the last page."""
    return page("reports.html", reports=reports, older=older)


def jurisdiction_page(place: Jurisdiction, weeks: list[Document], newest: Document | None) -> bytes:
    """The page of a jurisdiction. `weeks` are in order, as in `trend.charts`, with `reported`: whether it has a row.

    `newest` is a row of the query `newest_report`, None without a report.
    """
    return page(
        "jurisdiction.html",
        place=place,
        state=states.states().get(place.state),
        related=series.related(place),
        charts=trend.charts(weeks),
        weeks=weeks[: -WEEKS_SHOWN - 1 : -1],
        omitted=len(weeks) > WEEKS_SHOWN,
        newest=newest,
    )


def page(template: str, **values: object) -> bytes:
    """The page of a template, with these values."""
    return _templates().get_template(template).render(style=_style(), **values).encode()


def codes_page() -> bytes:
    """The page of the code lists."""
    headings = {"code": "Code", "name": "Meaning", "group": "Group", "ncic": "Nearest NCIC class", "region": "Region"}
    return page(
        "codes.html",
        lists=code_lists.lists(),
        groups=code_lists.groups(),
        headings=headings | {"notification": "Requests only notification"},
    )


def problem_page(status: int, detail: str) -> bytes:
    """The page of a failed request. `status`: HTTP; `detail` describes what to do."""
    title = HTTPStatus(status).phrase
    return _templates().get_template("problem.html").render(title=title, detail=detail, style=_style()).encode()


@cache
def content_security_policy() -> str:
    """The policy of the pages: one style sheet, identified by its digest; no scripts and no other origins."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def _attested(row: Document, kind: str) -> str:
    """The number that an agency attests for a kind, and the difference from the counted number, if any."""
    attested, missing = row[f"attested_{kind}"], row[f"missing_{kind}"]
    if attested is None:
        return ""
    return f"{attested:,} ({missing:+,})" if missing else f"{attested:,}"


def _in_words(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _days(first: date, last: date) -> str:
    """A range of dates in words, the year and the month only once if they are the same."""
    form = "%B %Y" if first.year != last.year else "%B" if first.month != last.month else ""
    begin = f"{first.day} {first.strftime(form)}".strip()
    return f"{begin} to {_in_words(last)}"


def _instant(text: str) -> str:
    """An instant in words, UTC: 5 February 2017, 05:00 UTC."""
    at = datetime.fromisoformat(text).astimezone(UTC)
    return f"{_in_words(at.date())}, {at:%H:%M} UTC"


def _duration(length: timedelta) -> str:
    """In the largest unit without a remainder, up to hours, such as '24 hours' or '90 minutes'."""
    seconds = round(length.total_seconds())
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    count = seconds // size
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("services.publisher.site"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: _UNKNOWN if value is None else f"{value:,}"
    environment.filters["day"] = lambda text: _in_words(date.fromisoformat(text))
    environment.filters["instant"] = _instant
    environment.filters["days"] = lambda first, last: _days(date.fromisoformat(first), date.fromisoformat(last))
    environment.filters["figure"] = lambda value: "no figure" if value is None else f"{value:,}"
    environment.filters["attested"] = _attested
    environment.filters["place"] = lambda row: f"{row['name']}, {row['state']}" if row["state"] else row["name"]
    environment.filters["label"] = states.label
    environment.filters["duration"] = _duration
    environment.filters["address"] = lambda url: url.removeprefix("mailto:")
    environment.globals["navigation"] = NAVIGATION
    environment.tests["former"] = code_lists.is_former
    environment.filters["signed"] = lambda n: f"{n:+,}" if n else "0"
    environment.filters["share"] = lambda part, whole: f"{part / whole:.0%}" if whole else "none"
    return environment


@cache
def _style() -> str:
    loader = _templates().loader
    assert loader is not None
    source, _, _ = loader.get_source(_templates(), "style.css")
    return re.sub(r"\s+", " ", source).strip()
