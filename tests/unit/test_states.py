"""services.publisher.site.states, the pages of states and the sums of a state."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.jurisdiction import JurisdictionKind, registry
from services.publisher.site import states
from tests.unit.sample_reader import ROW, Pool, reading
from tests.unit.test_rendering import Page

CLARK, WASHOE, NEVADA, TRIBE, TRAVIS = "32003", "32031", "32", "2430", "48453"


def row(geoid: str, issued: int | None, declined: int | None, *, reported: bool = True, **year: Any) -> dict[str, Any]:
    """A jurisdiction with one week in its year."""
    newest = {"issued": issued if reported else None, "declined": declined if reported else None}
    made = {"geoid": geoid, "reported": reported, "year_issued": issued, "year_declined": declined, **newest}
    return made | {"unknown_issued": int(issued is None), "unknown_declined": int(declined is None)} | year


def test_a_state_has_its_custody_first_and_all_its_counties_and_no_tribe() -> None:
    codes = [one.code for one in states.places("NV")]
    assert codes[:2] == [NEVADA, "32001"]
    assert len(codes) == 18
    assert states.label(states.places("NV")[0]) == "Nevada (state custody)"
    assert states.label(states.places("NV")[1]) == "Churchill County"


def test_each_jurisdiction_is_in_one_state_or_elsewhere() -> None:
    listed = [one.code for postal in states.states() for one in states.places(postal)]
    listed += [one.code for one in states.elsewhere()]
    assert sorted(listed) == sorted(one.code for one in registry())
    kinds = {one.kind for one in states.elsewhere()}
    assert kinds == {JurisdictionKind.TRIBAL, JurisdictionKind.FEDERAL}


def test_a_total_covers_known_numbers_and_counts_unknown_ones() -> None:
    found = {one.state.state: one for one in states.totals([row(CLARK, 7, 0), row(WASHOE, None, 3), row(TRIBE, 9, 9)])}
    assert (found["NV"].jurisdictions, dict(found["NV"].newest)) == (
        2,
        {"issued": 7, "declined": 3, "unknown_issued": 1, "unknown_declined": 0},
    )
    assert found["NV"].year == {"issued": 7, "declined": 3, "unknown_issued": 1, "unknown_declined": 0}
    assert len(found) == len(states.states()), "also states without a row"


def test_zero_unknown_and_no_row_are_different_totals() -> None:
    def total(rows: list[dict[str, Any]]) -> tuple[int, int | None, int | None]:
        (found,) = [one for one in states.totals(rows) if one.state.state == "NV"]
        return found.jurisdictions, found.newest["declined"], found.newest["unknown_declined"]

    assert total([row(CLARK, 1, 0)]) == (1, 0, 0)
    assert total([row(CLARK, 1, None)]) == (1, None, 1)
    assert total([]) == (0, None, 0)
    assert total([row(CLARK, 1, 5, reported=False)]) == (0, None, 0), "a row in an earlier week only"


class States(Pool):
    """Nevada with two jurisdictions, one of them unknown, in a revised week."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        sums = {"jurisdictions": 2, "issued": 120, "declined": 51, "unknown_issued": 0, "unknown_declined": 1}
        self.row = ROW | sums | {"first_declined": 48, "revision": 2} | changes


async def shown(pool: Pool, path: str) -> tuple[str, dict[str, list[list[str]]]]:
    async with reading(pool) as http:
        page = await http.get(path)
    assert page.status_code == 200
    return page.text, Page(page.content).tables


async def test_the_page_of_a_state_shows_sums_with_unknown_and_first_numbers() -> None:
    text, tables = await shown(States(), "/states/NV")
    assert "<h1>Nevada</h1>" in text
    assert "not in this sum: 1 of 2 jurisdictions, unknown" in text
    assert tables["All weeks"][1:] == [
        ["2017-01-28", "2", "2", "(first 118) 120", "(first 48) 51", "declined 1", "provisional"]
    ]
    assert tables["Jurisdictions"][2:] == [["Clark County", CLARK, "120", "51", "118", "(1 unknown) 51"]]
    assert f'<a href="/jurisdictions/{CLARK}">Clark County</a>' in text
    assert "Nevada (state custody)</a> (32)" in text, "among those without a row"
    assert '<link rel="canonical" href="/states/NV">' in text


async def test_a_sum_without_a_known_number_is_unknown_and_without_a_row_it_is_none() -> None:
    _, tables = await shown(States(declined=None, first_declined=None, unknown_declined=2), "/states/NV")
    assert tables["All weeks"][1][4:6] == ["U", "declined 2"]
    nothing = {"issued": None, "first_issued": None, "unknown_issued": 0, "unknown_declined": 0}
    text, tables = await shown(States(jurisdictions=0, declined=None, first_declined=None, **nothing), "/states/NV")
    assert tables["All weeks"][1][2:6] == ["0", "·", "·", ""]
    assert "not in this sum" not in text


async def test_the_list_of_states_has_each_state() -> None:
    text, tables = await shown(States(geoid=TRIBE), "/states")
    rows = next(iter(tables.values()))[2:]
    assert len(rows) == len(states.states())
    assert 'href="/states/NV"' in text
    (tribe,) = [one for one in states.elsewhere() if one.code == TRIBE]
    assert tables["Federal custody and tribes"][2:] == [[tribe.name, TRIBE, "120", "51", "118", "(1 unknown) 51"]]


@pytest.mark.parametrize("path", ["/states/NV", "/states", f"/jurisdictions/{CLARK}", "/calendar", "/method"])
async def test_a_page_without_a_report_is_a_page(path: str) -> None:
    pool = Pool()
    pool.row = None
    async with reading(pool) as http:
        assert (await http.get(path)).status_code == 200


@pytest.mark.parametrize("code", ["nv", "Nv", "nV"])
async def test_a_code_in_lower_case_is_redirected_for_good(code: str) -> None:
    async with reading(Pool()) as http:
        response = await http.get(f"/states/{code}")
    assert (response.status_code, response.headers["location"]) == (308, "/states/NV")


@pytest.mark.parametrize("code", ["ZZ", "32", "Nevada", "US", "<script>", "%2f%2fexample.org", "ß", "N" * 5_000])
async def test_an_unknown_state_has_a_page_that_links_to_all_states(code: str) -> None:
    async with reading(Pool()) as http:
        response = await http.get(f"/states/{code}")
    assert response.status_code == 404
    if not code.startswith("%2f"):  # several segments: no route
        assert '<a href="/states">all states</a>' in response.text
        assert "location" not in response.headers
        assert "<script" not in response.text


async def test_the_series_of_a_state_is_the_sum_of_each_week() -> None:
    async with reading(States()) as http:
        both, one = await http.get("/v1/series?state=NV"), await http.get("/v1/series?state=NV&kind=declined")
    week = {"week": "2017-01-28", "revision": 2, "jurisdictions": 2, "declined": 51, "unknown_declined": 1}
    assert both.json() == {
        "state": "NV",
        "name": "Nevada",
        "weeks": [week | {"issued": 120, "unknown_issued": 0}],
    }
    assert one.json()["weeks"] == [week]


async def test_the_series_of_a_jurisdiction_can_have_one_kind() -> None:
    async with reading(Pool()) as http:
        response = await http.get(f"/v1/series?geoid={CLARK}&kind=issued")
    assert response.json()["weeks"] == [{"week": "2017-01-28", "revision": 1, "reported": True, "issued": 118}]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("state=NV&geoid=32003", 400, "bad-geoid"),
        ("state=NV&state=TX", 400, "bad-geoid"),
        ("state=nv", 404, "state-not-found"),
        ("state=", 404, "state-not-found"),
        ("state=NV&kind=both", 400, "bad-kind"),
        ("state=NV&kind=", 400, "bad-kind"),
        ("state=NV&kind=issued&kind=declined", 400, "bad-kind"),
        ("state=NV&to=2017-02-30", 400, "bad-date"),
    ],
)
async def test_a_wrong_query_is_a_problem(query: str, status: int, code: str) -> None:
    async with reading(Pool()) as http:
        response = await http.get(f"/v1/series?{query}")
    assert (response.status_code, response.json()["code"]) == (status, code)
