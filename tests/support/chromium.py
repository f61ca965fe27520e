"""Chromium of this machine, driven by Playwright. Playwright's own browsers are never downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, Request, async_playwright

MISSING = "no browser on PATH: install chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_VIOLATIONS = """document.addEventListener("securitypolicyviolation", violation => console.error(
  `refused by the policy: ${violation.effectiveDirective} ${violation.blockedURI}`))"""


def executable() -> str | None:
    """The path of the browser, or None if there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@asynccontextmanager
async def launched(path: str) -> AsyncIterator[Browser]:
    """A headless browser. Its sandbox does not start for root."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Watched:
    """A page and all that the browser reports about it: console, errors, dialogs, refused and failed requests."""

    page: Page
    reports: list[str] = field(default_factory=list)

    async def watch(self) -> None:
        """Begin before the page is opened."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.reports.append(str(error)))
        self.page.on("requestfailed", lambda request: self.reports.append(f"failed: {request.url}"))
        self.page.on("request", self._requested)
        self.page.on("dialog", self._asked)
        await self.page.add_init_script(_VIOLATIONS)

    def _said(self, message: ConsoleMessage) -> None:
        # Chromium also reports the status of a page that is meant to be an error.
        if "the server responded with a status of 404" not in message.text:
            self.reports.append(f"{message.type}: {message.text}")

    async def _asked(self, dialog: Dialog) -> None:
        self.reports.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _requested(self, request: Request) -> None:
        if not request.is_navigation_request():
            self.reports.append(f"requested: {request.url}")
