"""Each kind of page for people who use a keyboard, a screen reader or high contrast: axe, and the tab key."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.kinds import KINDS, Kind

# Narrow and light, wide and dark: every rule depends on one of the two at most, except contrast on the whole page.
_VIEWS = ((390, "light"), (1280, "dark"))
_OTHER_VIEWS = ((390, "dark"), (1280, "light"))
_TAGS = (
    "wcag2a", "wcag2aa", "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental", "section508",
)  # fmt: skip
_RUN = """tags => axe.run(document, {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"]})
  .then(done => [done.passes.length, done.violations])"""
# An element that scrolls, and whether the keyboard reaches it under a name.
_SCROLLING = """() => [...document.querySelectorAll("body *")]
  .filter(one => ["auto", "scroll"].includes(getComputedStyle(one).overflowX))
  .map(one => ({
    tabindex: one.getAttribute("tabindex"), role: one.getAttribute("role"),
    name: one.getAttribute("aria-label") || document.getElementById(one.getAttribute("aria-labelledby"))?.textContent,
  }))"""
_WIDER = """() => [...document.querySelectorAll(".wide")]
  .find(one => one.checkVisibility() && one.scrollWidth > one.clientWidth)"""
_STOPS = """() => [...document.querySelectorAll("a[href], summary, [tabindex='0'], button, input, select, textarea")]
  .filter(one => one.checkVisibility()).length"""
_FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const order = [...document.querySelectorAll("*")].indexOf(one);
  return {order, tag: one.tagName, is_marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
          is_seen: box.bottom > 0 && box.top < innerHeight};
}"""


def _axe() -> str:
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


async def _violations(opened: Open, kind: Kind, width: int, scheme: str) -> list[str]:
    page = (await opened(kind, width=width, scheme=scheme, bypass_csp=True)).page
    for summary in await page.query_selector_all("summary"):
        await summary.click()  # axe examines only visible text
    await page.evaluate(_axe())
    passed, violations = await page.evaluate(_RUN, _TAGS)
    assert passed > 10, "axe has examined the page"
    return [f"{one['id']}: {node['html']} {_why(node)}" for one in violations for node in one["nodes"]]


def _why(node: dict[str, Any]) -> str:
    return " ".join(str(node["failureSummary"]).split())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_axe_finds_nothing(opened: Open, kind: Kind) -> None:
    for width, scheme in _VIEWS:
        assert await _violations(opened, kind, width, scheme) == [], (width, scheme)


@pytest.mark.long("the same pages in the other colors")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_axe_finds_nothing_in_the_other_colors(opened: Open, kind: Kind) -> None:
    for width, scheme in _OTHER_VIEWS:
        assert await _violations(opened, kind, width, scheme) == [], (width, scheme)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_everything_that_scrolls_has_a_name_and_takes_the_focus(opened: Open, kind: Kind) -> None:
    page = (await opened(kind, width=320)).page
    scrolling = await page.evaluate(_SCROLLING)
    assert [one for one in scrolling if one["tabindex"] != "0" or one["role"] != "region" or not one["name"]] == []
    assert len({one["name"] for one in scrolling}) == len(scrolling), "each has its own name"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_the_tab_key_reaches_everything_in_the_order_of_the_page(opened: Open, kind: Kind) -> None:
    page = (await opened(kind, width=390)).page
    focused = []
    for _ in range(await page.evaluate(_STOPS)):
        await page.keyboard.press("Tab")
        focused.append(await page.evaluate(_FOCUSED))
    orders = [one["order"] for one in focused]
    assert orders == sorted(set(orders))
    assert [one for one in focused if not (one["is_marked"] and one["is_seen"])] == []


async def test_the_arrow_keys_scroll_a_wide_table(opened: Open) -> None:
    page = (await opened(next(one for one in KINDS if one.name == "week"), width=320)).page
    wide = await page.evaluate_handle(_WIDER)
    assert await wide.evaluate("one => one !== undefined"), "no table is wider than the page"
    await wide.evaluate("one => one.focus()")
    await page.keyboard.press("ArrowRight")
    await page.wait_for_function("one => one.scrollLeft > 0", arg=wide)
