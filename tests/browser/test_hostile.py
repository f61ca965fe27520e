"""Markup and formulas in every free field of a report: the site shows them as text, and no program runs them."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from playwright.async_api import Browser
from pydantic import SecretStr

from deploy.local.parts import KafkaPart, PostgresPart
from schemas.week import ReportingWeek
from services.publisher.policy_file import COLUMNS
from services.publisher.queries import SQL
from services.runtime.settings import Settings
from tests.browser import year as years
from tests.browser.measures import LABELS, OVERFLOW
from tests.support import commands, kafka_log, serving
from tests.support.chromium import Watched
from tests.support.life import Life, living
from tests.support.local_parts import new_database

TEXT = (
    '=HYPERLINK("https://example.org";"x")<script>alert(1)</script><img src=x onerror=alert(2)>'
    "\"'><svg onload=alert(3)>{{ 7 * 7 }}{% raw %}</style></title></table><!-- &lt;b&gt;&#0; " + 30 * "word"
)
"""A formula, markup and a long word in one text, with no line break."""
SOURCE = "https://example.org/?q='onfocus='alert(4)&lt;script&gt;;=1"
_FREE = frozenset({"name", "agency", "gate", "subject", "detail", "by", "note", "reason", "basis", "category", "zone"})
"""The fields of a stored document with texts from outside of this program. `notes` is a list of them."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_EXECUTABLE = """() => [...document.querySelectorAll("*:not(script[type='application/ld+json'])")].filter(one =>
  ["SCRIPT", "IMG", "IFRAME", "OBJECT", "EMBED", "FORM", "BASE"].includes(one.tagName)
  || [...one.attributes].some(attribute => attribute.name.startsWith("on") || attribute.name === "style"
      || /^\\s*(javascript|data|vbscript):/i.test(attribute.value))).map(one => one.outerHTML)"""
_TEXT = "() => [...document.body.querySelectorAll('*')].map(one => one.textContent.trim()).filter(Boolean)"


@dataclass(frozen=True)
class Hostile:
    """The site with these texts."""

    address: str
    weeks: tuple[ReportingWeek, ...]


@pytest.fixture(scope="module")
async def hostile(
    browser_path: str,
    spare_kafka: KafkaPart,
    postgres: PostgresPart,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Hostile]:
    directory = tmp_path_factory.mktemp("hostile")
    weeks = years.weeks_from(years.FIRST_DAY, 2)
    kafka_log.recreate_topics(spare_kafka)
    with new_database(postgres, migrated_template) as dsn:
        settings = Settings(
            postgres_dsn=SecretStr(dsn),
            kafka_bootstrap=spare_kafka.bootstrap,
            kafka_replication=1,
            agencies_file=years.write_agencies(directory / "agencies.toml"),
            first_week=weeks[0].first,
            demonstration=True,
            note=TEXT,
            line_list="full",
            line_list_basis=TEXT,
        )
        async with living(settings, weeks[0]) as life:
            await _live(life, weeks, directory / "policies.csv")
        async with serving.reading(settings) as address:
            yield Hostile(address, weeks)


async def _live(life: Life, weeks: tuple[ReportingWeek, ...], policies: Path) -> None:
    """A held week, released with a hostile note; the next one; a correction with a hostile reason."""
    rows = "\n".join([",".join(COLUMNS), f"36059,2014-06,2014-06-01,,judicial-warrant,{SOURCE},"])
    await asyncio.to_thread(policies.write_text, rows)
    done = await commands.ddor(life.settings, "policies", "load", str(policies), "--by", TEXT)
    assert done.exit_code == 0, done.output
    await life.write(*years.facts(0, weeks[0], unissued=3), *years.facts(1, weeks[1]))
    await life.close(weeks[0])
    assert await life.publisher.store.release(weeks[0].first, TEXT, TEXT, life.publisher.clock.now.astimezone(UTC))
    await life.close(weeks[1])
    await life.write(*years.facts(2, weeks[0]))
    await life.connection.fetchval(SQL["request_restatement"], weeks[0].first, TEXT, TEXT, life.publisher.clock.now)
    await life.publisher.steps()
    assert len(await life.revisions()) == 3
    await _replace_stored_texts(life)


async def _replace_stored_texts(life: Life) -> None:
    """Codes and names are checked before they are stored. The site must not depend on that."""
    for row in await life.connection.fetch("SELECT week, revision, figures FROM report"):
        await life.connection.execute(
            "UPDATE report SET figures = $3 WHERE (week, revision) = ($1, $2)",
            row["week"],
            row["revision"],
            _replaced(row["figures"]),
        )


def _replaced(value: Any, field: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _replaced(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, field) for one in value]
    return TEXT if isinstance(value, str) and field in _FREE else value


def _pages(weeks: tuple[ReportingWeek, ...]) -> list[str]:
    revisions = [f"/v1/reports/{weeks[0]}/revisions/{number}.html" for number in (1, 2)]
    return [*revisions, f"/reports/{weeks[0]}", f"/reports/{weeks[1]}", "/", "/reports", "/jurisdictions/36059"]


async def test_a_page_shows_the_texts_and_runs_nothing(browser: Browser, hostile: Hostile) -> None:
    context = await browser.new_context(base_url=hostile.address)
    for path in _pages(hostile.weeks):
        watched = Watched(await context.new_page())
        await watched.watch()
        await watched.page.goto(path)
        assert await watched.page.evaluate(_EXECUTABLE) == [], path
        assert watched.reports == [], path
        for width in (320, 1024):
            await watched.page.set_viewport_size({"width": width, "height": 900})
            assert await watched.page.evaluate(OVERFLOW) == [], (path, width)
            assert await watched.page.evaluate(LABELS) == [], (path, width)
        if "/20" in path:
            texts = await watched.page.evaluate(_TEXT)
            assert sum(TEXT in one for one in texts) > 30, "each field is shown as it was written"
            assert len(await watched.page.query_selector_all("h1")) == 1
    await context.close()


async def test_the_free_texts_are_where_people_look_for_them(browser: Browser, hostile: Hostile) -> None:
    context = await browser.new_context(base_url=hostile.address)
    page = await context.new_page()
    await page.goto(f"/v1/reports/{hostile.weeks[0]}/revisions/1.html")
    assert await page.locator(".note", has_text=TEXT).count() >= 2, "the note of a demonstration, and a flag"
    assert await page.locator("li", has_text=f"{TEXT}, ").count() == 1, "the sign-off"
    assert await page.locator("td a", has_text="source").get_attribute("href") == SOURCE
    assert await page.locator("footer", has_text=TEXT).count() == 1, "the legal basis of the list of declines"
    await page.goto(f"/reports/{hostile.weeks[0]}")
    assert await page.locator("p", has_text=TEXT).count() >= 2, "the reason of a correction"
    await context.close()


async def test_no_cell_of_a_file_is_a_formula(hostile: Hostile) -> None:
    async with httpx.AsyncClient(base_url=hostile.address) as http:
        for path in (f"/v1/reports/{hostile.weeks[0]}.csv", f"/v1/reports/{hostile.weeks[0]}/revisions/1.csv"):
            response = await http.get(path)
            assert response.headers["x-content-type-options"] == "nosniff"
            cells = [cell for row in csv.reader(io.StringIO(response.text)) for cell in row]
            assert f"'{TEXT}" in cells
            assert [cell for cell in cells if cell.startswith(_FORMULA)] == []


async def test_the_json_and_the_feed_stay_data(hostile: Hostile) -> None:
    async with httpx.AsyncClient(base_url=hostile.address) as http:
        response = await http.get(f"/v1/reports/{hostile.weeks[0]}/revisions/1.json")
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.json()["notes"] == [TEXT]
        assert response.json()["sign_offs"][0]["note"] == TEXT
        feed = ET.fromstring((await http.get("/feed.atom")).text)
        assert len(feed.findall("{http://www.w3.org/2005/Atom}entry")) == 3
