"""services.publisher.routes while PostgreSQL is away: what readers are told, and what the log says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import structlog.testing

from tests.unit.sample_reader import Pool, reading, routes


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(pool) as client:
        yield client


@pytest.mark.parametrize(
    "error", [OSError("secret"), asyncpg.PostgresError("secret"), asyncpg.InterfaceError("secret")]
)
async def test_it_waits_for_postgresql_and_does_not_quote_it(pool: Pool, error: Exception) -> None:
    reports = routes(pool)
    async with reports.connected():
        assert await reports.waiting_for() is None
        pool.broken = error
        waiting_for = await reports.waiting_for()
    assert waiting_for == f"PostgreSQL: {type(error).__name__}"


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("secret"), asyncpg.AdminShutdownError("secret"), TimeoutError("secret")]
)
@pytest.mark.parametrize("path", ["/", "/v1/reports", "/v1/reports/2017-01-28", "/v1/reports/2017-01-28/revisions/1"])
async def test_while_postgresql_is_away_it_is_503_and_said_once(
    client: httpx.AsyncClient, pool: Pool, error: Exception, path: str
) -> None:
    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            pool.broken = error
            answers = [await client.get(path) for _ in range(3)]
            pool.broken = None
            assert (await client.get("/v1/reports/latest.pdf")).status_code == 404, "asks nobody, so says nothing"
            assert (await client.get(path)).status_code == 200
    assert {(one.status_code, one.headers["retry-after"]) for one in answers} == {(503, "5")}
    media_type = "text/html; charset=utf-8" if path == "/" else "application/problem+json"
    assert {one.headers["content-type"] for one in answers} == {media_type}
    assert "secret" not in answers[0].text
    if path == "/":
        assert "default-src 'none'" in answers[0].headers["content-security-policy"]
    else:
        assert answers[0].json()["code"] == "reports-unavailable"
    once = [("reports-unavailable", "warning"), ("reports-available", "info")]
    assert [(one["event"], one["log_level"]) for one in said] == once * 3
    assert said[0]["error"] == type(error).__name__


async def test_what_waiting_does_not_mend_is_no_503(client: httpx.AsyncClient, pool: Pool) -> None:
    pool.broken = asyncpg.UndefinedTableError("a defect of ours")
    with pytest.raises(asyncpg.UndefinedTableError):
        await client.get("/v1/reports")
