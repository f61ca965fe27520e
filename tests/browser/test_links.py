"""Every link of the site, followed from the front page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
import pytest
from starlette.routing import compile_path

from services.publisher.site.openapi import document
from tests.browser.kinds import KINDS
from tests.browser.year import Year
from tests.support import tiers

_PAGES_OF_A_ROUTE = 300
"""Of pages that differ in their code alone, `make test` opens at most this number, and `make check` all."""
_PATHS: dict[str, Any] = document()["paths"]


class _Reader(HTMLParser):
    """The links, ids, canonical address and headings of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.canonical: str | None = None
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = dict(attrs)
        if one.get("id"):
            self.ids.append(str(one["id"]))
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(tag)
        if tag == "link" and one.get("rel") == "canonical":
            self.canonical = one["href"]
        if tag in ("a", "link") and one.get("href") is not None:
            self.links.append(str(one["href"]))


@dataclass
class Crawled:
    """Every page and file that the site links to."""

    seen: set[str] = field(default_factory=set)
    pages: dict[str, _Reader] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
async def crawled(request: pytest.FixtureRequest, site: str, year: Year) -> Crawled:
    """Begins at the front page and at each kind of page."""
    found, followed = Crawled(), Counter[str]()
    limit = 10_000 if request.config.getoption(tiers.LONG) else _PAGES_OF_A_ROUTE
    starts = {urljoin(site, kind.path_in(year)): "the list of kinds" for kind in KINDS if kind.status == 200}
    left = {urljoin(site, "/"): "the beginning", **starts}
    async with httpx.AsyncClient() as http:
        while left:
            address, source = left.popitem()
            found.seen.add(address)
            followed[route := _route(urlsplit(address).path)] += 1
            if followed[route] > limit:
                continue
            response = await http.get(address)
            if response.status_code != 200:
                found.broken.append(f"{address}: {response.status_code}, linked by {source}")
            elif response.headers["content-type"].startswith("text/html"):
                reader = _Reader()
                reader.feed(response.text)
                found.pages[address] = reader
                left |= _new(found, left, site, address)
            else:
                found.files.add(address)
    return found


def _new(found: Crawled, left: Container[str], site: str, address: str) -> dict[str, str]:
    """The addresses of a page's links that were not requested before."""
    new = {}
    for link in found.pages[address].links:
        to = urldefrag(urljoin(address, link)).url
        if not to.startswith(f"{site}/"):
            found.elsewhere.add(to)
        elif to not in found.seen and to not in left:
            new[to] = address
    return new


def test_each_link_leads_somewhere(crawled: Crawled, year: Year) -> None:
    assert crawled.broken == []
    assert len(crawled.pages) > len(year.weeks)
    assert any(address.endswith(".csv") for address in crawled.files)


def test_links_to_other_sites_are_https(crawled: Crawled) -> None:
    assert crawled.elsewhere, "sources of policies"
    assert {urlsplit(address).scheme for address in crawled.elsewhere} == {"https"}


def test_each_fragment_exists_and_ids_are_unique(crawled: Crawled) -> None:
    lacking = []
    for address, page in crawled.pages.items():
        assert len(page.ids) == len(set(page.ids)), address
        for link in page.links:
            to, fragment = urldefrag(urljoin(address, link))
            if fragment and to in crawled.pages and fragment not in crawled.pages[to].ids:
                lacking.append(f"{address} links to {link}")
    assert lacking == []


def test_a_canonical_address_is_a_page_that_names_itself(crawled: Crawled, site: str, year: Year) -> None:
    for address, page in crawled.pages.items():
        if page.canonical is None:
            continue
        to = urljoin(address, page.canonical)
        assert to in crawled.pages, f"{address} names {to}"
        assert urljoin(to, crawled.pages[to].canonical or "") == to, address
    named = {address: page.canonical for address, page in crawled.pages.items()}
    assert named[f"{site}/"] == f"/reports/{year.newest}"
    assert named[f"{site}/v1/reports/{year.restated}/revisions/1.html"] == f"/reports/{year.restated}"


def test_headings_skip_no_level(crawled: Crawled) -> None:
    for address, page in crawled.pages.items():
        levels = [int(one[1]) for one in page.headings]
        assert levels[0] == 1, address
        assert levels.count(1) == 1, address
        assert all(after <= before + 1 for before, after in pairwise(levels)), address


def test_each_kind_of_page_is_in_the_table_of_kinds(crawled: Crawled, year: Year) -> None:
    """A page that no test looks at would be a gap."""
    known = {_route(kind.path_in(year)) for kind in KINDS}
    linked = {_route(urlsplit(address).path) for address in crawled.pages}
    described = {path for path, item in _PATHS.items() if not path.startswith("/v1/") and _is_page(item)}
    assert linked | described <= known, "add a line to tests/browser/kinds.py"


def _is_page(item: dict[str, Any]) -> bool:
    return "text/html" in item["get"]["responses"]["200"].get("content", {})


def _route(path: str) -> str:
    """The path of the OpenAPI document that a path fits, such as /reports/{name}; itself if it fits none."""
    return next((one for one in _PATHS if compile_path(one)[0].match(path)), path)
