"""The routes of the files of all weeks: two CSV files and a data package."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.publisher.site import csv_text, data_package, figure_files
from services.publisher.site.all_weeks import AllWeeks, Tip
from services.publisher.site.downloads import Download, all_of
from services.publisher.site.package_file import PackageFiles
from services.publisher.site.reader import Reader
from services.publisher.site.responses import ProblemError, caching, not_modified

ZIP = "application/zip"
MAX_DOWNLOADS = 16
"""The maximum number of CSV files that are sent at once. Each takes a statement and some time for each revision."""


class Files:
    """The routes of the files of all weeks."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._weeks = AllWeeks(reader)
        self._packages = PackageFiles(self._weeks)
        self._open = 0

    @property
    def routes(self) -> list[Route]:
        """The routes, for programs."""
        file = self._reader.file
        return [
            file("/v1/all.csv", self.show_newest),
            file("/v1/revisions.csv", self.show_revisions),
            file("/v1/datapackage.zip", self.show_package),
        ]

    async def show_newest(self, request: Request) -> Response:
        """The numbers of the newest revision of each week, as CSV."""
        return await self._figures(request, newest=True)

    async def show_revisions(self, request: Request) -> Response:
        """The numbers of every revision, as CSV."""
        return await self._figures(request, newest=False)

    async def _figures(self, request: Request, *, newest: bool) -> Response:
        tip = await self._weeks.tip()
        tag = _tag(tip, hashlib.sha256(figure_files.figures_header()).hexdigest())
        if unchanged := not_modified(request, tag, {}):
            return unchanged
        if request.method == "HEAD":
            return Download(all_of(b""), csv_text.MEDIA_TYPE, caching(tag))
        if self._open >= MAX_DOWNLOADS:
            detail = f"The maximum of {MAX_DOWNLOADS} files is being sent; retry later."
            raise ProblemError(503, "too-many-downloads", detail, {"Retry-After": "10"})
        self._open += 1
        return Download(self._weeks.figures(tip, newest=newest), csv_text.MEDIA_TYPE, caching(tag), self._ended)

    def _ended(self) -> None:
        self._open -= 1

    async def show_package(self, request: Request) -> Response:
        """All figures as a data package. HEAD does not make it, and so does not know its length."""
        tip = await self._weeks.tip()
        tag = _tag(tip, data_package.form_digest())
        if unchanged := not_modified(request, tag, {}):
            return unchanged
        headers = caching(tag)
        if request.method == "HEAD":
            return Download(all_of(), ZIP, headers)
        package = await self._packages.get(tip, tag)
        headers["Content-Length"] = str(package.length)
        return Download(package.pieces(), ZIP, headers)


def _tag(tip: Tip, form: str) -> str:
    """The entity tag of a file. `form`: a digest that changes with the columns."""
    return f'"{tip.digest[:32]}-{form[:8]}"'
