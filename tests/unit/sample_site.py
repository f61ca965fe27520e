"""A small site for the writer of copies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.publisher.site.responses import tagged
from services.publisher.static_site import manifest
from services.publisher.static_site.directory import opened
from services.publisher.static_site.scope import Revision, Scope
from services.publisher.static_site.writer import Writer, Written

REVISION = Revision(date(2017, 1, 28), 1, "d" * 64, datetime(2017, 2, 5, tzinfo=UTC), demonstration=False)
HTML, JSON = "text/html; charset=utf-8", "application/json"


class Small:
    """A site of these bodies by address, with a report and a jurisdiction. Records all responses but 304."""

    def __init__(self) -> None:
        self.bodies: dict[str, tuple[str, str]] = {
            "/": (HTML, '<a href="/states/NV">NV</a> <a href="/docs">docs</a> <a href="/desk">desk</a>'),
            "/states/NV": (HTML, '<a href="/states/CA?x=1">CA</a> <a href="/reports?before=2017-01-28">older</a>'),
            "/reports?before=2017-01-28": (HTML, '<a href="/v1/codes">codes</a> <a href="/jurisdictions/31037">no</a>'),
            "/v1/codes": (JSON, '{"link":"/"}'),
            "/jurisdictions/32003": (HTML, '<a href="/jurisdictions/31037">31037</a> <a href="/reports/2017-01-28">'),
            "/v1/series?geoid=32003": (JSON, "{}"),
            "/reports/2017-01-28": (HTML, '<a href="/v1/reports/2017-01-28/revisions/1/line-list">list</a>'),
        }  # fmt: skip
        for base in ("/v1/reports/2017-01-28", "/v1/reports/2017-01-28/revisions/1"):
            self.bodies |= {
                f"{base}.html": (HTML, "<p>"),
                f"{base}.json": (JSON, "{}"),
                f"{base}.csv": ("text/csv", "a"),
            }
        self.rendered: list[str] = []

    async def _respond(self, request: Request) -> Response:
        address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if address not in self.bodies:
            return Response(status_code=404)
        media_type, body = self.bodies[address]
        response = tagged(request, body.encode(), media_type)
        if response.status_code == 200:
            self.rendered.append(address)
        return response

    async def write(
        self,
        path: Path,
        *,
        geoids: tuple[str, ...] = ("32003",),
        stop_at: int = -1,
        renderer: str = "r",
        force: bool = False,
    ) -> Written:
        """Write a copy; raise KeyboardInterrupt when `stop_at` files are done."""

        def progress(done: int, _: int) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        self.rendered.clear()
        scope = Scope([REVISION], geoids, ["/", "/reports/{name}"])
        transport = httpx.ASGITransport(Starlette(routes=[Route("/{path:path}", self._respond)]))
        with opened(path, renderer, force=force) as directory:
            async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
                return await Writer(client, scope, directory, lambda: None, progress).run([REVISION])


def tree(path: Path) -> Mapping[str, bytes]:
    """All files with their bytes."""
    return {one.relative_to(path).as_posix(): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def times(path: Path) -> dict[Path, int]:
    """When each file was replaced, except for the list."""
    return {one: one.stat().st_mtime_ns for one in path.rglob("*.*") if one.is_file() and one.name != manifest.NAME}
