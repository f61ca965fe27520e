"""Each kind of page in a real browser: widths, colors, print, console, validity. Makes the screenshots."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.browser.conftest import SCREENSHOTS, Open
from tests.browser.kinds import KINDS, Kind
from tests.browser.measures import CUT_OFF, LABELS, OVERFLOW
from tests.browser.year import Year
from tests.support import nu_checker

WIDTHS = (320, 390, 1024, 1920)
SCHEMES = ("light", "dark")
SHOWN_WIDTHS = (390, 1280)
A4_WIDTH = 718
"""The width in pixels of a sheet without its margins."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_page_fits_each_width_and_print_without_a_word_on_the_console(
    opened: Open, kind: Kind, tmp_path: Path
) -> None:
    watched = await opened(kind)
    page = watched.page
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate(OVERFLOW) == [], width
        assert await page.evaluate(LABELS) == [], width
    await page.emulate_media(media="print")
    await page.set_viewport_size({"width": A4_WIDTH, "height": 900})
    assert await page.evaluate(OVERFLOW) == [], "print"
    assert await page.evaluate(CUT_OFF) == [], "a sheet does not scroll"
    assert (await page.pdf(format="A4")).startswith(b"%PDF")
    assert watched.reports == []


@pytest.mark.long("makes the screenshots for people; the test above measures the same pages")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_screenshots_for_people(opened: Open, kind: Kind) -> None:
    await asyncio.to_thread(SCREENSHOTS.mkdir, parents=True, exist_ok=True)
    for scheme in SCHEMES:
        page = (await opened(kind, scheme=scheme)).page
        for width in SHOWN_WIDTHS:
            await page.set_viewport_size({"width": width, "height": 900})
            image = await page.screenshot(path=SCREENSHOTS / f"{kind.name}-{width}-{scheme}.png", full_page=True)
            assert len(image) > 5_000, "more than an empty page"
    await page.emulate_media(media="print", color_scheme="light")
    await page.pdf(path=SCREENSHOTS / f"{kind.name}.pdf", format="A4")


async def test_all_kinds_are_valid_html(site: str, year: Year, tmp_path: Path) -> None:
    if lacking := nu_checker.missing():
        pytest.skip(" ".join(lacking))
    files = []
    async with httpx.AsyncClient(base_url=site) as http:
        for kind in KINDS:
            response = await http.get(kind.path_in(year))
            files.append(tmp_path / f"{kind.name}.html")
            files[-1].write_bytes(response.content)
    assert await asyncio.to_thread(nu_checker.findings, files) == []
