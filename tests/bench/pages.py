"""Duration of pages and lists for readers: ten years of weeks with every county, and a century of weeks."""

from __future__ import annotations

from datetime import date, timedelta
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg
import httpx
from starlette.applications import Starlette

from schemas.jurisdiction import registry
from services.publisher.site.about import About
from services.publisher.site.reader_pool import CONNECTIONS
from services.publisher.site.routes import Site
from services.runtime import migrations, postgres
from services.runtime.clock import system
from services.runtime.settings import Settings
from tests.support.batches import CALENDAR
from tests.unit.sample_reports import report, snapshot

FIRST = CALENDAR.week(date(1922, 1, 7))
SHAPES = ((520, 3_000), (5_000, 300))
"""Weeks and jurisdictions of each measurement."""
_TIMES = 9

_REPORTS = """
WITH added AS (
    INSERT INTO report (week, revision, cause, digest, figures_digest, figures, published_at, sequence)
    SELECT $1::date + 7 * n, 1, 'initial', md5(n::text), md5(n::text),
           $2::jsonb || jsonb_build_object('week_start', $1::date + 7 * n, 'week_end', $1::date + 7 * n + 6),
           $3::timestamptz + n * interval '7 days', n + 1
    FROM generate_series(0, $4 - 1) AS n RETURNING week, revision
)
INSERT INTO published_figure (week, revision, geoid, issued, declined)
SELECT week, revision, one ->> 'geoid', (one ->> 'issued')::integer, (one ->> 'declined')::integer
FROM added, jsonb_array_elements($2::jsonb -> 'jurisdictions') AS one
"""
_COUNTERS = """
INSERT INTO weekly_counter (week, jurisdiction, kind, n)
SELECT week, geoid, 'issued', issued FROM published_figure WHERE issued > 0
"""
_CLOSES = """
INSERT INTO week_close (week, state, barrier)
SELECT week, CASE WHEN row_number() OVER (ORDER BY week DESC) <= 8 THEN 'published' ELSE 'final' END, '{}' FROM report
"""


async def measure(settings: Settings) -> list[tuple[str, str]]:
    """Each request, and its median in milliseconds. The database of `settings` must be empty."""
    rows: list[tuple[str, str]] = []
    connection = await postgres.connect(settings, "ddor-bench")
    try:
        await migrations.apply(connection)
        for weeks, jurisdictions in SHAPES:
            await connection.execute("TRUNCATE report, published_figure, week_close, weekly_counter CASCADE")
            await _fill(connection, weeks, jurisdictions)
            rows += [(f"{weeks:,} weeks: {what}", text) for what, text in await _ask(settings, weeks)]
    finally:
        await connection.close()
    return rows


async def _fill(connection: asyncpg.Connection[Any], weeks: int, jurisdictions: int) -> None:
    codes = [place.code for place in registry() if len(place.code) == 5][:jurisdictions]
    made = report(snapshot({code: 3 + number % 90 for number, code in enumerate(codes)}, dict.fromkeys(codes[::3], 2)))
    figures = made.model_dump(mode="json") | {"digest": made.digest}
    assert len(figures["jurisdictions"]) == jurisdictions
    await connection.execute(_REPORTS, FIRST.first, figures, FIRST.ends_at, weeks, timeout=600)
    await connection.execute(_COUNTERS)
    await connection.execute(_CLOSES)
    await connection.execute("VACUUM ANALYZE")


async def _ask(settings: Settings, weeks: int) -> list[tuple[str, str]]:
    """Each measured page, by a client in the same process."""
    last = str(FIRST.first + timedelta(days=7 * (weeks - 1)))
    site = Site(lambda: postgres.pool(settings, "ddor-bench-http", CONNECTIONS), About.of(settings), system)
    transport = httpx.ASGITransport(Starlette(routes=site.routes))
    async with site.connected(), httpx.AsyncClient(transport=transport, base_url="http://bench", timeout=60) as http:
        await http.get("/v1/series?geoid=32003&from=2990-01-06")  # connects
        cold = [
            await _seconds(http, f"/reports/{FIRST.first + timedelta(days=7 * (weeks - 2 - n))}") for n in range(_TIMES)
        ]
        pages = {
            "the front page": "/",
            "the list as a page": "/reports",
            "the list as JSON": "/v1/reports",
            "the page of a week, cached": f"/reports/{last}",
            "a report as JSON, cached": f"/v1/reports/{last}.json",
            "the page of a jurisdiction": "/jurisdictions/01001",
        }
        found = {"the page of a week, rendered": cold}
        for what, path in pages.items():
            await _seconds(http, path)
            found[what] = [await _seconds(http, path) for _ in range(_TIMES)]
    return [(what, f"{1_000 * median(took):.1f}") for what, took in found.items()]


async def _seconds(http: httpx.AsyncClient, path: str) -> float:
    began = perf_counter()
    response = await http.get(path)
    assert response.status_code == 200, (path, response.text)
    return perf_counter() - began
