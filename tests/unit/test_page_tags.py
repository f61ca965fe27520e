"""The entity tag of a page covers everything that the page shows besides its report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import asyncpg
import httpx
import pytest
from starlette.applications import Starlette

from services.publisher.site import program
from services.publisher.site.routes import Site
from tests.unit.sample_reader import ABOUT, NOW, Pool, reading


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(pool) as client:
        yield client


async def test_a_page_has_another_tag_if_its_contact_or_the_program_changes(
    client: httpx.AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tags() -> dict[str, str]:
        return {
            form: (await client.get(f"/v1/reports/latest.{form}")).headers["etag"] for form in ("json", "csv", "html")
        }

    before = await tags()
    monkeypatch.setattr(program, "digest", lambda *_: "of another program")
    after = await tags()
    assert {form for form in before if before[form] == after[form]} == {"json"}, "its bytes are the document"
    about = replace(ABOUT, contact="mailto:reports@example.org")
    site = Site(lambda: cast("asyncpg.Pool[Any]", pool), about, lambda: NOW)
    async with site.connected():
        transport = httpx.ASGITransport(Starlette(routes=site.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://publisher") as other:
            page = await other.get("/v1/reports/latest.html", headers={"If-None-Match": after["html"]})
    assert (page.status_code, "reports@example.org" in page.text) == (200, True)
