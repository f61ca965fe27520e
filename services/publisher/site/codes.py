"""The routes of the code lists: JSON, and a page for people. Their contents change only with a release."""

from __future__ import annotations

from functools import cache

import rfc8785
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.publisher.site import code_lists, rendering
from services.publisher.site.reader import Reader
from services.publisher.site.responses import tagged


class Codes:
    """The routes of the code lists. They read no database."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def routes(self) -> list[Route]:
        """The routes, for people and for programs."""
        return [self._reader.page("/codes", self.show_page), self._reader.file("/v1/codes", self.show_lists)]

    async def show_page(self, request: Request) -> Response:
        """The lists as an HTML page."""
        return tagged(request, _page(), rendering.MEDIA_TYPES["html"])

    async def show_lists(self, request: Request) -> Response:
        """The lists as JSON."""
        return tagged(request, _json(), "application/json")


@cache
def _json() -> bytes:
    return rfc8785.dumps(code_lists.document())


@cache
def _page() -> bytes:
    return rendering.codes_page()
