"""services.publisher.site.codes: every code that a report or a file can contain, as JSON and as a page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import get_args

import httpx
import pytest

from schemas import taxonomy
from schemas.detainer import Kind
from schemas.jurisdiction import JurisdictionKind, registry, successions
from schemas.report import OffenseRow, RevisionCause
from services.publisher import restating
from services.publisher.site import code_lists, figure_files
from tests.unit.sample_reader import Pool, reading
from tests.unit.sample_reports import report_inputs


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with reading(Pool()) as client:
        yield client


async def test_the_json_has_each_code_of_a_report(client: httpx.AsyncClient) -> None:
    lists = (await client.get("/v1/codes")).json()
    codes = {name: [row["code"] for row in rows] for name, rows in lists.items() if rows and "code" in next(iter(rows))}
    assert codes == {
        "kinds": [kind.value for kind in Kind],
        "statuses": list(figure_files.STATUSES),
        "revision_causes": list(get_args(RevisionCause)),
        "change_causes": list(restating.CAUSES),
        "reasons": list(taxonomy.reasons()),
        "forms": list(taxonomy.forms()),
        "offenses": list(taxonomy.offenses()),
        "offense_bases": list(get_args(OffenseRow.model_fields["basis"].annotation)),
        "countries": list(taxonomy.countries()),
        "policy_codes": list(taxonomy.policy_codes()),
        "jurisdiction_kinds": [kind.value for kind in JurisdictionKind],
    }
    assert [one["geoid"] for one in lists["jurisdictions"]] == [one.code for one in registry()]
    assert len(lists["successions"]) == len(successions())
    assert {"predecessor": "02270", "successor": "02158", "since": "2015-07-01"} in lists["successions"]


async def test_the_digests_are_those_that_a_report_names(client: httpx.AsyncClient) -> None:
    digests = (await client.get("/v1/codes")).json()["inputs"]
    assert digests.keys() == {"jurisdictions", "offenses", "reasons", "forms", "countries"}
    assert digests.items() <= report_inputs().digests.items()


async def test_the_page_has_each_code_once_and_each_jurisdiction_with_a_link(client: httpx.AsyncClient) -> None:
    response = await client.get("/codes")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = response.text
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for one in code_lists.lists():
        assert {one.name, *(f"{one.name}-{row['code']}" for row in one.rows)} <= set(ids)
        assert f'href="#{one.name}"' in page
    assert re.findall(r'href="/jurisdictions/([^"]+)"', page).count("32003") == 1
    assert set(re.findall(r'href="/jurisdictions/([^"]+)"', page)) == {one.code for one in registry()}
    assert "Doña Ana County" in page
    assert page.count("<details") == page.count("</details>")


def test_a_former_code_has_a_successor() -> None:
    former = [one.code for one in registry() if code_lists.is_former(one)]
    assert "09001" in former, "Fairfield County, Connecticut"
    assert set(former) <= {one.predecessor for one in successions()}
    assert not code_lists.is_former(next(iter(registry())))


@pytest.mark.parametrize("path", ["/codes", "/v1/codes"])
async def test_unchanged_lists_are_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    whole = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = await client.head(path)
    assert (head.status_code, head.headers["etag"], head.content) == (200, whole.headers["etag"], b"")
    assert (await client.get(path, params={"x": "1"})).status_code == 400
