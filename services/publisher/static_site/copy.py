"""A copy of the site in a directory, from a snapshot of the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
from starlette.applications import Starlette

from schemas.jurisdiction import registry
from services.publisher import static_site
from services.publisher.site import program
from services.publisher.site.about import About
from services.publisher.site.routes import Site
from services.publisher.static_site import directory, snapshot
from services.publisher.static_site.queries import SQL
from services.publisher.static_site.scope import Revision, Scope
from services.publisher.static_site.writer import Writer, Written
from services.runtime.settings import Settings

_NO_REPORT_YET = datetime(1970, 1, 1, tzinfo=UTC)


async def write(
    settings: Settings, path: Path, progress: Callable[[int, int], None] = lambda *_: None, *, force: bool = False
) -> Written:
    """Write the site to a directory: the same bytes for the same database. `progress`: numbers of files done and known.

    A run that is killed leaves complete files of both states; the next run completes the copy. Raises
    ConfigurationError, DirectoryRefusedError, DamagedManifestError, OSError if a file cannot be written, and the errors
    of PostgreSQL.
    """
    async with snapshot.taken(settings) as taken:
        await taken.check_calendar(settings.calendar)
        about = About.of(settings)
        revisions = [Revision(**row) for row in await taken.rows(SQL["revisions"])]
        geoids = [row["geoid"] for row in await taken.rows(SQL["geoids"]) if registry().get(row["geoid"])]
        # The calendar of the pages begins at the newest report, so that the same database gives the same bytes.
        now = max((one.published_at for one in revisions), default=_NO_REPORT_YET)
        site = Site(taken.connect, about, lambda: now)
        scope = Scope(revisions, geoids, [route.path for route in site.routes if "GET" in (route.methods or ())])
        with directory.opened(path, program.digest(static_site), force=force) as opened:
            async with (
                site.connected(),
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(Starlette(routes=site.routes)), base_url="http://site"
                ) as client,
            ):
                return await Writer(client, scope, opened, lambda: taken.error, progress).run(revisions)
