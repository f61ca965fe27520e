"""The site of the documentation in a browser: widths, colors, search, and no request to another host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.browser.measures import OVERFLOW
from tests.support import documentation

_PAGES = (
    "index.html",
    "ARCHITECTURE.html",
    "docs/settings.html",
    "docs/metrics.html",
    "docs/runbooks/database-roles.html",
)
_BOXES = """() => document.querySelectorAll(".md-typeset__scrollwrap, pre > code, .md-typeset pre")
  .forEach(one => one.classList.add("wide"))"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def directory(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the site, if there is a browser."""
    return documentation.built(tmp_path_factory.mktemp("documentation"))


@pytest.fixture(scope="module", params=["http", "file"])
def address(request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    """The address of the site: on a web server, and as files."""
    if request.param == "file":
        yield directory.as_uri()
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def _opened(
    browser: Browser, address: str, page: str, *, scheme: str = "light", width: int = 1280
) -> tuple[Page, list[str]]:
    """A page, and the list to which the browser adds messages and requests to others."""
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
    )
    opened, reports = await context.new_page(), list[str]()
    opened.on("console", lambda message: reports.append(message.text))
    opened.on("pageerror", lambda error: reports.append(str(error)))
    opened.on("requestfailed", lambda request: reports.append(f"failed: {request.url}"))
    opened.on("request", lambda request: _note(request.url, address, reports))
    await opened.goto(f"{address}/{page}")
    return opened, reports


def _note(url: str, address: str, reports: list[str]) -> None:
    if not url.startswith((address, "data:", "blob:", "about:")):
        reports.append(f"requested: {url}")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", _PAGES)
async def test_a_page_fits_each_width_and_requests_nothing_from_others(
    browser: Browser, directory: Path, name: str, width: int
) -> None:
    page, reports = await _opened(browser, directory.as_uri(), name, width=width)
    await page.evaluate(_BOXES)
    assert await page.evaluate(OVERFLOW) == []
    assert reports == []
    await page.context.close()


async def test_colors_are_those_that_the_reader_prefers(browser: Browser, directory: Path) -> None:
    colors = []
    for scheme in ("light", "dark"):
        page, _ = await _opened(browser, directory.as_uri(), "index.html", scheme=scheme)
        colors.append(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        await page.context.close()
    light, dark = (sum(int(part) for part in color[4:-1].split(",")) for color in colors)
    assert dark < 150 < 600 < light, colors


async def test_the_search_finds_a_setting_without_another_host(browser: Browser, address: str) -> None:
    page, reports = await _opened(browser, address, "docs/glossary.html")
    await page.fill("input[name=query]", "DDOR_RESTATEMENT_WEEKS")
    results = page.locator(".md-search-result__link")
    await results.first.wait_for(timeout=120_000)
    found = [str(await one.get_attribute("href")) for one in await results.all()]
    assert any("docs/settings.html" in one for one in found), found
    assert len(found) < 10
    assert reports == []
    await page.context.close()
