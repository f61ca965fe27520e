"""The same figures in every form of a revision: page, JSON, CSV, files, feed, series and announcement."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.browser import expected
from tests.browser.conftest import Open
from tests.browser.kinds import Kind
from tests.browser.year import Year

_ATOM = {"a": "http://www.w3.org/2005/Atom"}
_TABLES = """() => Object.fromEntries([...document.querySelectorAll("table")].map(table => {
  const headings = [...document.querySelectorAll("h2, h3, summary")];
  const before = headings.filter(one => one.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING);
  const rows = [...table.tBodies].flatMap(body => [...body.rows]);
  const text = cell => cell.textContent.replace(/\\s+/g, " ").trim();
  return [text(before.at(-1)), rows.map(row => [...row.cells].map(text))];
}))"""
_TOTALS = "() => [...document.querySelectorAll('.totals dd')].map(one => one.textContent.trim())"
Figures = dict[str, tuple[int | None, int | None]]


@pytest.fixture
async def http(site: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site) as client:
        yield client


async def _report(http: httpx.AsyncClient, week: str, revision: int | None = None) -> dict[str, Any]:
    address = f"/v1/reports/{week}" if revision is None else f"/v1/reports/{week}/revisions/{revision}"
    document: dict[str, Any] = (await http.get(f"{address}.json")).json()
    return document


async def _year(http: httpx.AsyncClient, week: str) -> list[dict[str, Any]]:
    """The totals of each of the 53 weeks up to this one: newest and first revision."""
    listed = [one["week"] for one in (await http.get("/v1/reports")).json()["reports"] if one["week"] <= week]
    found = []
    for one in reversed(listed[:53]):
        newest, first = await _report(http, one), await _report(http, one, 1)
        first_totals = {f"first_{kind}": n for kind, n in first["totals"].items()}
        found.append({"week": one, "jurisdictions": newest["jurisdictions"], **newest["totals"], **first_totals})
    return found


@pytest.mark.parametrize(
    ("path", "revision"),
    [("/reports/{newest}", 1), ("/reports/{restated}", 3), ("/v1/reports/{restated}/revisions/2.html", 2)],
)
async def test_every_table_of_a_page_equals_the_json(
    opened: Open, http: httpx.AsyncClient, year: Year, path: str, revision: int
) -> None:
    page = (await opened(Kind("", path))).page
    week = year.newest if "newest" in path else year.restated
    report = await _report(http, week, revision)
    is_newest = (await _report(http, week))["revision"] == revision
    address = f"/v1/reports/{week}/revisions/{revision}"
    files = {form: (await http.get(f"{address}.{form}")).content for form in ("json", "csv")}
    tables = expected.tables(report, await _year(http, week) if is_newest else [], files)
    shown = await page.evaluate(_TABLES)
    assert shown.keys() == tables.keys(), "a new table needs its rows in tests/browser/expected.py"
    for heading, rows in tables.items():
        assert shown[heading] == rows, heading
    totals = report["totals"]
    top = f"{report['top_declined']:,} of {totals['declined']:,}"
    assert await page.evaluate(_TOTALS) == [f"{totals['issued']:,}", f"{totals['declined']:,}", top]


@pytest.mark.parametrize("revision", [1, 2, 3])
async def test_one_revision_has_the_same_figures_everywhere(
    opened: Open, http: httpx.AsyncClient, year: Year, revision: int
) -> None:
    week = year.restated
    report = await _report(http, week, revision)
    figures = _figures(report["jurisdictions"])
    totals = report["totals"]
    assert any(n is None for pair in figures.values() for n in pair), "an unknown number is among them"

    page = (await opened(Kind("", f"/v1/reports/{week}/revisions/{revision}.html"))).page
    rows = (await page.evaluate(_TABLES))["All jurisdictions"]
    assert {row[1]: (_number(row[2]), _number(row[3])) for row in rows if len(row) > 1} == figures

    text = (await http.get(f"/v1/reports/{week}/revisions/{revision}.csv")).text
    assert _figures(csv.DictReader(io.StringIO(text))) == figures

    announced = json.loads(year.announced[week, revision])["data"]
    assert _figures(announced["jurisdictions"]) == figures
    assert (announced["totals"], announced["digest"]) == (totals, report["digest"])

    feed = ET.fromstring((await http.get("/feed.atom")).text)
    [summary] = [
        entry.findtext("a:summary", "", _ATOM)
        for entry in feed.iterfind("a:entry", _ATOM)
        if f"Week of {week}, revision {revision}:" in entry.findtext("a:title", "", _ATOM)
    ]
    assert summary == f"Issued {totals['issued']:,}, declined {totals['declined']:,}. Digest {report['digest']}."
    await _check_series(http, week, revision, figures)


async def _check_series(http: httpx.AsyncClient, week: str, revision: int, figures: Figures) -> None:
    """The series has the newest revision."""
    for geoid, pair in figures.items():
        [one] = (await http.get(f"/v1/series?geoid={geoid}&from={week}&to={week}")).json()["weeks"]
        assert one["revision"] == 3
        assert one["reported"]
        if one["revision"] == revision:
            assert (one["issued"], one["declined"]) == pair, geoid


@pytest.mark.parametrize("path", ["/v1/all.csv", "/v1/revisions.csv", "/v1/datapackage.zip"])
async def test_the_files_of_all_weeks_have_the_figures_of_the_reports(
    http: httpx.AsyncClient, year: Year, path: str
) -> None:
    response = await http.get(path)
    assert response.status_code == 200
    content = {path: response.content}
    if path.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            content = {name: archive.read(name) for name in archive.namelist() if name.endswith(".csv")}
    compared = 0
    for file in content.values():
        rows = list(csv.DictReader(io.StringIO(file.decode())))
        if not rows or not {"week", "revision", "geoid", "kind", "n"} <= rows[0].keys():
            continue  # a code list
        for revision in {int(row["revision"]) for row in rows if row["week"] == year.restated}:
            listed = {
                (row["geoid"], row["kind"]): _number(row["n"])
                for row in rows
                if (row["week"], row["revision"]) == (year.restated, str(revision))
            }
            report = await _report(http, year.restated, revision)
            for geoid, (issued, declined) in _figures(report["jurisdictions"]).items():
                assert (listed.pop((geoid, "issued")), listed.pop((geoid, "declined"))) == (issued, declined)
            assert listed == {}
            compared += 1
    assert compared


def _figures(rows: Any) -> Figures:
    return {row["geoid"]: (_number(row["issued"]), _number(row["declined"])) for row in rows}


def _number(cell: str | int | None) -> int | None:
    """A number as JSON, CSV or a page writes it. Unknown is null, empty or U, and never 0."""
    return None if cell in (None, "", "U") else int(str(cell).replace(",", ""))
