"""services.publisher.site.routes while PostgreSQL is unavailable: the responses and the log."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import structlog.testing

from services.runtime.errors import AwayError, ConfigurationError
from tests.unit.sample_reader import Pool, reading, routes


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(pool) as client:
        yield client


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("secret"), ": the connection to PostgreSQL or Kafka was lost: check that both run"),
        (asyncpg.PostgresError("secret"), ""),
        (asyncpg.InterfaceError("secret"), ""),
        (AwayError("PostgreSQL at db:1 cannot be reached"), ": PostgreSQL at db:1 cannot be reached"),
        (ConfigurationError("set DDOR_POSTGRES_DSN"), ": set DDOR_POSTGRES_DSN"),
    ],
)
async def test_it_waits_for_postgresql_and_does_not_quote_it(pool: Pool, error: Exception, reason: str) -> None:
    reports = routes(pool)
    async with reports.connected():
        assert await reports.waiting_for() is None
        pool.broken = error
        waiting_for = await reports.waiting_for()
    assert waiting_for == f"PostgreSQL: {type(error).__name__}{reason}"


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("secret"), asyncpg.AdminShutdownError("secret"), TimeoutError("secret")]
)
@pytest.mark.parametrize("path", ["/", "/v1/reports", "/v1/reports/2017-01-28", "/v1/reports/2017-01-28/revisions/1"])
async def test_while_postgresql_is_unavailable_it_is_503_and_logged_once(
    client: httpx.AsyncClient, pool: Pool, error: Exception, path: str
) -> None:
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            pool.broken = error
            responses = [await client.get(path) for _ in range(3)]
            pool.broken = None
            assert (await client.get("/v1/reports/latest.pdf")).status_code == 404, "no query, so no log message"
            assert (await client.get(path)).status_code == 200
    assert {(one.status_code, one.headers["retry-after"]) for one in responses} == {(503, "5")}
    media_type = "text/html; charset=utf-8" if path == "/" else "application/problem+json"
    assert {one.headers["content-type"] for one in responses} == {media_type}
    assert "secret" not in responses[0].text
    if path == "/":
        assert "default-src 'none'" in responses[0].headers["content-security-policy"]
    else:
        assert responses[0].json()["code"] == "reports-unavailable"
    once = [("reports-unavailable", "warning"), ("reports-available", "info")]
    assert [(one["event"], one["log_level"]) for one in logged] == once * 3
    assert logged[0]["error"] == type(error).__name__


@pytest.mark.parametrize("error", [asyncpg.InvalidPasswordError("x"), ConfigurationError("x")])
async def test_an_error_that_an_operator_must_fix_is_503_and_logged_once(
    client: httpx.AsyncClient, pool: Pool, error: Exception
) -> None:
    pool.broken = error
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            assert (await client.get("/v1/reports")).status_code == 503
    assert [(one["event"], one["reason"] is None, "exc_info" in one) for one in logged] == [
        ("reports-unavailable", False, False)
    ]


async def test_a_defect_is_not_503(client: httpx.AsyncClient, pool: Pool) -> None:
    pool.broken = asyncpg.UndefinedParameterError("a defect")
    with pytest.raises(asyncpg.UndefinedParameterError):
        await client.get("/v1/reports")
