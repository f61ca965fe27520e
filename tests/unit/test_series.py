"""services.publisher.site.series, and the page of a jurisdiction."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from schemas.jurisdiction import registry
from services.publisher.site import rendering, series
from tests.unit.sample_reader import Pool, reading
from tests.unit.test_rendering import Page

FRANKLIN_NY, SHANNON_SD, CLARK_NV = "36033", "46113", "32003"


def place(code: str) -> Any:
    found = registry().get(code)
    assert found is not None
    return found


def weeks(count: int, **last: object) -> list[dict[str, Any]]:
    """Consecutive weeks with one decline more in each. `last` are changes of the last one."""
    day = date(2017, 1, 28)
    made: list[dict[str, Any]] = [
        {"week": str(day - timedelta(weeks=count - 1 - n)), "revision": 1, "issued": 0, "declined": n, "reported": True}
        | {"first_issued": 0, "first_declined": n, "provisional": False}
        for n in range(count)
    ]
    made[-1] |= last
    return made


def test_namesakes_are_named_with_their_states() -> None:
    names = [one.label for one in series.related(place(FRANKLIN_NY)).namesakes]
    assert "Franklin County, PA" in names
    assert "Franklin County, NY" not in names
    assert series.related(place("US")).namesakes == []


def test_other_codes_of_an_area_are_named() -> None:
    (one,) = series.related(place(SHANNON_SD)).successions
    assert str(one).startswith("46113 is, in whole or in part, 46102 since")


def test_the_page_lists_weeks_newest_first() -> None:
    rows = Page(rendering.jurisdiction_page(place(CLARK_NV), weeks(3), None)).tables["All weeks"]
    assert rows[1:] == [
        ["2017-01-28", "1", "0", "2", "final"],
        ["2017-01-21", "1", "0", "1", "final"],
        ["2017-01-14", "1", "0", "0", "final"],
    ]


def test_zero_unknown_and_no_row_differ() -> None:
    unknown = weeks(1, declined=None, first_declined=None, provisional=True)
    absent = weeks(1, reported=False, issued=None, declined=None)
    assert Page(rendering.jurisdiction_page(place(CLARK_NV), unknown, None)).tables["All weeks"][1:] == [
        ["2017-01-28", "1", "0", "U", "provisional"]
    ]
    assert Page(rendering.jurisdiction_page(place(CLARK_NV), absent, None)).tables["All weeks"][1:] == [
        ["2017-01-28", "1", "·", "·", "final"]
    ]


def test_a_revised_number_has_its_first_number_beside_it() -> None:
    revised = weeks(1, declined=12, first_declined=10, revision=3)
    unknown = weeks(1, declined=None, first_declined=10, revision=3)
    later = weeks(1, declined=12, first_declined=None, revision=3)
    for found, cell in ((revised, "(first 10) 12"), (unknown, "(first 10) U"), (later, "12")):
        rows = Page(rendering.jurisdiction_page(place(CLARK_NV), found, None)).tables["All weeks"][1:]
        assert rows == [["2017-01-28", "3", "0", cell, "final"]]


POLICY = {"geoid": CLARK_NV, "name": "Clark County", "state": "NV", "enacted": "2016-05", "since": "2016-06-01"} | {
    "until": None,
    "honored": [{"code": "judicial-warrant", "name": "Judicial warrant"}],
    "source": "https://example.org/policy",
}


def test_a_page_lists_the_policies_and_notes_of_the_newest_report() -> None:
    newest = {"week": date(2017, 1, 28), "week_end": "2017-02-03", "notes": ["Demonstration."], "policies": [POLICY]}
    page = rendering.jurisdiction_page(place(CLARK_NV), weeks(1), newest)
    assert Page(page).tables["Policies limiting detainers"][1:] == [
        ["2016-05", "2016-06-01", "Judicial warrant", "source"]
    ]
    assert b'<a href="https://example.org/policy" rel="nofollow noopener">' in page
    assert b'<p class="note">Demonstration.</p>' in page
    none = rendering.jurisdiction_page(place(CLARK_NV), weeks(1), newest | {"policies": []})
    assert b"The registry of the newest report has no policy of this jurisdiction" in none
    without_list = rendering.jurisdiction_page(place(CLARK_NV), weeks(1), newest | {"policies": None})
    assert b"policies" not in without_list.lower()


def test_a_page_links_to_its_state() -> None:
    def shown(code: str) -> str:
        return rendering.jurisdiction_page(place(code), [], None).decode()

    assert '<a href="/states/NV">Nevada</a>' in shown(CLARK_NV)
    assert "<h1>Nevada (state custody)</h1>" in shown("32")
    assert "/states/" not in shown("US")


def test_a_page_has_at_most_ten_years_and_says_so() -> None:
    page = rendering.jurisdiction_page(place(CLARK_NV), weeks(600), None)
    assert len(Page(page).tables["All weeks"]) == 1 + rendering.WEEKS_SHOWN
    assert b"Earlier weeks are in the JSON file." in page
    assert b"Earlier weeks" not in rendering.jurisdiction_page(place(CLARK_NV), weeks(2), None)


def test_a_page_without_weeks_has_a_note() -> None:
    assert b"No week has been published yet." in rendering.jurisdiction_page(place(CLARK_NV), [], None)


async def test_the_series_has_the_figures_of_each_week() -> None:
    async with reading(Pool()) as http:
        response = await http.get("/v1/series", params={"geoid": CLARK_NV, "from": "2017-01-01", "to": "2017-12-31"})
        again = await http.get(
            "/v1/series", params={"geoid": CLARK_NV}, headers={"If-None-Match": response.headers["etag"]}
        )
    assert response.json() == {
        "geoid": CLARK_NV,
        "name": "Clark County",
        "state": "NV",
        "weeks": [{"week": "2017-01-28", "revision": 1, "reported": True, "issued": 118, "declined": 51}],
    }
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "bad-geoid"),
        ("geoid=32003&geoid=32031", 400, "bad-geoid"),
        ("geoid=99999", 404, "jurisdiction-not-found"),
        ("geoid=32003&from=yesterday", 400, "bad-date"),
        ("geoid=32003&to=2017-02-30", 400, "bad-date"),
        ("geoid=32003&from=2017-01-28&from=2017-02-04", 400, "bad-date"),
        ("geoid=32003&as_of=yesterday", 400, "bad-as-of"),
        ("geoid=32003&until=2017-01-28", 400, "unknown-parameter"),
    ],
)
async def test_a_wrong_query_is_a_problem(query: str, status: int, code: str) -> None:
    async with reading(Pool()) as http:
        response = await http.get(f"/v1/series?{query}")
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("code", ["99999", "<script>", "..%2f..%2fetc"])
async def test_an_unknown_code_has_a_page_that_helps(code: str) -> None:
    async with reading(Pool()) as http:
        response = await http.get(f"/jurisdictions/{code}")
    assert response.status_code == 404
    if code != "..%2f..%2fetc":  # two segments: no route
        assert "five-digit FIPS code" in response.text
        assert "<script" not in response.text
        assert response.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_page_of_a_jurisdiction_is_not_sent_again_if_unchanged() -> None:
    async with reading(Pool()) as http:
        response = await http.get(f"/jurisdictions/{CLARK_NV}")
        again = await http.get(f"/jurisdictions/{CLARK_NV}", headers={"If-None-Match": response.headers["etag"]})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert again.status_code == 304
