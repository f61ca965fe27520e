"""Pages and sums of states on PostgreSQL: their figures are those of the JSON documents."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from schemas.jurisdiction import Jurisdiction, registry
from services.publisher.queries import SQL
from services.publisher.site import queries, states
from services.publisher.site.about import About
from services.publisher.site.routes import Site
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.support import kafka_log
from tests.support.positions import Connection
from tests.unit.sample_reports import report, snapshot
from tests.unit.test_rendering import Page

FIRST = date(2016, 1, 2)
WEEKS = 60
CODES = ("32", "32003", "32031", "36", "36059", "3205", "2430", "US", "48453")
POLICY: dict[str, Any] = {
    "geoid": "32031",
    "name": "Washoe County",
    "state": "NV",
    "enacted": "2016-05",
    "since": "2016-06-01",
} | {
    "until": None,
    "honored": [{"code": "judicial-warrant", "name": "Judicial warrant"}],
    "source": "https://example.org/policy",
}
KINDS = ("issued", "declined")
Numbers = dict[str, int | None]


@dataclass(frozen=True)
class Published:
    """A client of reports, and the newest document of each week, oldest first."""

    http: httpx.AsyncClient
    connection: Connection
    documents: list[dict[str, Any]]

    async def json(self, path: str) -> Any:
        response = await self.http.get(path)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="module")
async def published(module_database: str) -> AsyncIterator[Published]:
    """Reports with figures by chance, and a client of them."""
    settings = Settings(first_week=date(2017, 1, 28), postgres_dsn=SecretStr(module_database))
    site = Site(lambda: postgres.pool(settings, "ddor-test"), About.of(settings), lambda: datetime.now(UTC))
    async with kafka_log.connected(settings) as connection, site.connected():
        await _publish(connection)
        transport = httpx.ASGITransport(Starlette(routes=site.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://publisher") as http:
            weeks = [FIRST + timedelta(weeks=number) for number in range(WEEKS)]
            documents = [(await http.get(f"/v1/reports/{week}.json")).json() for week in weeks]
            yield Published(http, connection, documents)


async def _publish(connection: Connection) -> None:
    """Sixty weeks. Each third has three revisions. Some numbers are unknown, some rows are missing."""
    chance = random.Random(7)
    sequence = 0
    for number in range(WEEKS):
        week = FIRST + timedelta(weeks=number)
        for revision in range(1, 4 if number % 3 == 0 else 2):
            sequence += 1
            document = _document(week, revision, chance)
            await connection.execute(
                SQL["add_report"],
                *(week, revision, "initial", document["digest"], "", None, document),
                datetime(2016, 1, 10, tzinfo=UTC) + timedelta(weeks=number, days=revision),
                sequence,
            )


def _document(week: date, revision: int, chance: random.Random) -> dict[str, Any]:
    def number() -> int | None:
        return None if chance.random() < 0.2 else chance.randrange(9)

    listed = [code for code in CODES if chance.random() < 0.7]
    rows = [{"geoid": code, "name": "", "state": "", "issued": number(), "declined": number()} for code in listed]
    made = report(snapshot()).model_dump(mode="json")
    changes = {"week_start": str(week), "week_end": str(week + timedelta(days=6)), "revision": revision}
    return made | changes | {"jurisdictions": rows, "policies": [POLICY], "digest": f"{week}/{revision}"}


def _sum(rows: list[dict[str, Any]]) -> Numbers:
    """What a sum of rows must be."""
    known = {kind: [row[kind] for row in rows if row[kind] is not None] for kind in KINDS}
    sums: Numbers = {kind: sum(known[kind]) if known[kind] else None for kind in KINDS}
    return sums | {f"unknown_{kind}": len(rows) - len(known[kind]) for kind in KINDS}


def _rows(document: Mapping[str, Any], codes: set[str]) -> list[dict[str, Any]]:
    return [row for row in document["jurisdictions"] if row["geoid"] in codes]


def _place(code: str) -> Jurisdiction:
    found = registry().get(code)
    assert found is not None
    return found


@pytest.mark.parametrize("postal", ["NV", "NY", "TX", "GU"])
async def test_the_sums_of_a_state_are_those_of_the_documents(published: Published, postal: str) -> None:
    codes = {one.code for one in states.places(postal)}
    series = await published.json(f"/v1/series?state={postal}")
    assert series["name"] == states.states()[postal].name
    expected = [
        {"week": one["week_start"], "revision": one["revision"], "jurisdictions": len(_rows(one, codes))}
        | _sum(_rows(one, codes))
        for one in published.documents
    ]
    assert series["weeks"] == expected
    part = await published.json(f"/v1/series?state={postal}&kind=declined&from=2016-03-01&to=2016-04-30")
    assert part["weeks"] == [
        {name: n for name, n in one.items() if "issued" not in name}
        for one in expected
        if "2016-03-01" <= str(one["week"]) <= "2016-04-30"
    ]


async def test_a_sum_as_of_an_instant_is_that_of_the_revision_of_then(published: Published) -> None:
    (first,) = (await published.json(f"/v1/series?state=NV&to={FIRST}&as_of=2016-01-10"))["weeks"]
    document = await published.json(f"/v1/reports/{FIRST}/revisions/1")
    assert first["revision"] == 1
    assert {name: first[name] for name in _sum([])} == _sum(_rows(document, {"32", "32003", "32031"}))


async def test_the_series_of_a_jurisdiction_is_that_of_the_documents(published: Published) -> None:
    weeks = (await published.json("/v1/series?geoid=32003"))["weeks"]
    found = [next(iter(_rows(one, {"32003"})), None) for one in published.documents]
    assert [(one["reported"], one["issued"], one["declined"]) for one in weeks] == [
        (True, row["issued"], row["declined"]) if row else (False, None, None) for row in found
    ]


async def test_the_page_of_a_state_has_the_sums_the_jurisdictions_and_the_policies(published: Published) -> None:
    page = await published.http.get("/states/NV")
    tables = Page(page.content).tables
    codes = {"32", "32003", "32031"}
    newest = published.documents[-1]
    assert len(tables["All weeks"]) == 1 + WEEKS
    for row, document in zip(tables["All weeks"][1:], reversed(published.documents), strict=True):
        sums = _sum(_rows(document, codes))
        first = await published.json(f"/v1/reports/{document['week_start']}/revisions/1")
        before = _sum(_rows(first, codes))
        assert row[:3] == [document["week_start"], str(document["revision"]), str(len(_rows(document, codes)))]
        assert row[3:5] == [_shown(sums[kind], before[kind], bool(_rows(document, codes))) for kind in KINDS]
    assert [row[1] for row in tables["Jurisdictions"][2:]] == ["32", "32003", "32031"]
    for row in tables["Jurisdictions"][2:]:
        latest = next(iter(_rows(newest, {row[1]})), None)
        year = _sum([one for document in published.documents[-52:] for one in _rows(document, {row[1]})])
        assert row[2:4] == ["·" if latest is None else _number(latest[kind]) for kind in KINDS]
        assert row[4:6] == [f"({year[f'unknown_{kind}']} unknown) {_number(year[kind])}" for kind in KINDS]
    assert tables["Policies limiting detainers"][1][:3] == ["Washoe County, NV", "32031", "2016-05"]


def _number(n: int | None) -> str:
    return "U" if n is None else str(n)


def _shown(n: int | None, first: int | None, has_rows: bool) -> str:
    if not has_rows:
        return "·"
    return _number(n) if first in (None, n) else f"(first {first}) {_number(n)}"


async def test_the_list_of_states_has_the_sums_of_the_newest_week(published: Published) -> None:
    tables = Page((await published.http.get("/states")).content).tables
    newest = published.documents[-1]
    rows = {row[0]: row[1:4] for row in next(iter(tables.values()))[2:]}
    for postal in ("NV", "NY", "TX", "GU"):
        found = _rows(newest, {one.code for one in states.places(postal)})
        assert rows[states.states()[postal].name][0] == str(len(found))
        sums = _sum(found)
        for kind, cell in zip(KINDS, rows[states.states()[postal].name][1:], strict=True):
            assert cell.split(") ")[-1] == (_number(sums[kind]) if found else "·")
    assert [row[1] for row in tables["Federal custody and tribes"][2:]] == [
        one.code for one in states.elsewhere() if one.code in CODES
    ]


async def test_a_jurisdiction_has_its_policy_and_its_state(published: Published) -> None:
    page = await published.http.get("/jurisdictions/32031")
    assert '<a href="https://example.org/policy" rel="nofollow noopener">source</a>' in page.text
    assert '<a href="/states/NV">Nevada</a>' in page.text
    other = await published.http.get("/jurisdictions/32003")
    assert "has no policy of this jurisdiction" in other.text
    assert _place("32003").label in other.text


async def test_the_calendar_counts_weeks_without_a_report_from_the_newest_on(published: Published) -> None:
    page = await published.http.get("/calendar")
    assert f"the first of them that of {FIRST + timedelta(weeks=WEEKS)}" in page.text


async def test_the_figures_of_a_state_are_read_from_the_index_alone(published: Published) -> None:
    """For each week one part of the index, not the rows of all revisions."""
    await published.connection.execute("VACUUM ANALYZE published_figure")
    codes = ",".join(one.code for one in states.places("NV"))
    statement = queries.SQL["year_of_places"].replace("$1", f"'{{{codes}}}'")
    async with published.connection.transaction():
        await published.connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await published.connection.fetch(f"EXPLAIN {statement}"))
    assert "Index Only Scan using published_figure_pkey" in plan, plan
    assert "Index Cond: ((week = w.week) AND (revision = w.revision)" in plan.replace("r.", "w."), plan
