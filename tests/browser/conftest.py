"""The year of `tests.browser.year`, its site over loopback, and a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.async_api import Browser
from pydantic import SecretStr

from deploy.local.parts import KafkaPart, PostgresPart
from services.runtime.settings import Settings
from tests.browser import year as years
from tests.browser.kinds import Kind
from tests.browser.year import Year
from tests.support import chromium, kafka_log, serving
from tests.support.chromium import Watched
from tests.support.local_parts import new_database

SCREENSHOTS = Path(__file__).parents[2] / "out" / "screenshots"
Open: TypeAlias = Callable[..., Awaitable[Watched]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the screenshots are."""
    passed = terminalreporter.stats.get("passed", [])
    if any("test_screenshots_for_people" in report.nodeid for report in passed):
        terminalreporter.line(f"Screenshots of the pages: {SCREENSHOTS}")


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The path of the browser. Without one, its tests are skipped by name."""
    return chromium.executable() or pytest.skip(chromium.MISSING)


@pytest.fixture(scope="session")
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    """A browser."""
    async with chromium.launched(browser_path) as one:
        yield one


@pytest.fixture(scope="session")
async def year(
    browser_path: str,
    spare_kafka: KafkaPart,
    postgres: PostgresPart,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Year]:
    """A year of reports in a database of its own, if there is a browser."""
    directory = tmp_path_factory.mktemp("year")
    kafka_log.recreate_topics(spare_kafka)
    with new_database(postgres, migrated_template) as dsn:
        settings = Settings(
            postgres_dsn=SecretStr(dsn),
            kafka_bootstrap=spare_kafka.bootstrap,
            kafka_replication=1,
            agencies_file=years.write_agencies(directory / "agencies.toml"),
            first_week=years.FIRST_DAY,
        )
        yield await years.lived(settings, years.write_policies(directory / "policies.csv"))


@pytest.fixture(scope="session")
async def site(year: Year) -> AsyncIterator[str]:
    """The address of the site of the year."""
    async with serving.reading(year.settings) as address:
        yield address


@pytest.fixture
async def opened(browser: Browser, site: str, year: Year) -> AsyncIterator[Open]:
    """`await opened(kind)`: a page of the site. Scripts of the test run in it if its policy is bypassed."""
    contexts = []

    async def open_one(kind: Kind, *, width: int = 1024, scheme: str = "light", bypass_csp: bool = False) -> Watched:
        context = await browser.new_context(
            base_url=site,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            bypass_csp=bypass_csp,
        )
        contexts.append(context)
        watched = Watched(await context.new_page())
        await watched.watch()
        response = await watched.page.goto(kind.path_in(year))
        assert response is not None
        assert response.status == kind.status
        return watched

    yield open_one
    for context in contexts:
        await context.close()
