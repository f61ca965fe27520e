"""Files larger than the buffers of a connection: slow clients, clients that leave, a database that stops."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date

import httpx
import pytest
from pydantic import SecretStr

from schemas.jurisdiction import registry
from services.publisher.site import figure_files, package_file, reader_pool
from services.publisher.site.about import About
from services.publisher.site.all_weeks import AllWeeks, Tip
from services.publisher.site.package_file import PackageFiles
from services.publisher.site.reader import Reader
from services.publisher.site.responses import ProblemError
from services.publisher.site.routes import Site
from services.runtime import http, postgres
from services.runtime.clock import system
from services.runtime.settings import Settings
from tests.support import kafka_log
from tests.support.positions import Connection
from tests.support.serving import listening
from tests.support.waiting import until

WEEKS, PLACES = 100, 3_000
NAME = "ddor-test-files"
_REPORTS = """
INSERT INTO report (week, revision, cause, digest, figures_digest, figures, published_at, sequence)
SELECT '2010-01-02'::date + 7 * n, 1, 'initial', encode(sha256(n::text::bytea), 'hex'), '',
       '{"totals": {"issued": 1, "declined": 2}, "demonstration": false}', now(), n
FROM generate_series(1, $1::integer) AS n
"""
_FIGURES = """
INSERT INTO published_figure (week, revision, geoid, issued, declined)
SELECT week, revision, geoid, 7, NULL FROM report, unnest($1::text[]) AS geoid
"""


@pytest.fixture(scope="module")
async def settings(module_database: str) -> Settings:
    """A database with more figures than fit into the buffers of a connection: 20 MB as CSV."""
    settings = Settings(first_week=date(2017, 1, 28), postgres_dsn=SecretStr(module_database))
    async with kafka_log.connected(settings) as connection:
        await connection.execute(_REPORTS, WEEKS)
        await connection.execute(_FIGURES, [one.code for one in registry()][:PLACES])
        await connection.execute("ANALYZE report, published_figure")
    return settings


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    """A connection to this database."""
    async with kafka_log.connected(settings) as connection:
        yield connection


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The site on the real server. Yields its address."""
    about = About.of(settings)
    site = Site(lambda: postgres.pool(settings, NAME, reader_pool.CONNECTIONS), about, system)
    async with listening(http.application(site.routes, site.waiting_for, site.connected)) as port:
        yield f"http://127.0.0.1:{port}"


async def _active(connection: Connection) -> int:
    active = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'"
    return int(await connection.fetchval(active, NAME))


async def test_clients_that_do_not_read_occupy_no_connection(settings: Settings, connection: Connection) -> None:
    readers = 3 * reader_pool.CONNECTIONS
    async with serving(settings) as url, AsyncExitStack() as stack, httpx.AsyncClient(base_url=url) as quick:
        for _ in range(readers):
            slow = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
            response = await stack.enter_async_context(slow.stream("GET", "/v1/all.csv"))
            assert response.status_code == 200

        async def idle() -> bool:
            return await _active(connection) == 0

        await until(idle, "no statement runs, although twelve files are not read")
        for _ in range(3):
            assert (await quick.get("/v1/reports")).status_code == 200
        assert len((await quick.get("/v1/all.csv", timeout=60)).content.splitlines()) == 1 + 2 * WEEKS * PLACES


async def test_a_file_that_cannot_be_completed_is_cut_off_and_logged_in_one_line(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        async with client.stream("GET", "/v1/all.csv") as response:
            pieces = response.aiter_bytes()
            await anext(pieces)
            monkeypatch.setattr(reader_pool, "TIMEOUT_SECONDS", 0.2)
            async with connection.transaction():
                await connection.execute("LOCK TABLE published_figure")
                with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                    async for _ in pieces:
                        pass
        monkeypatch.undo()
        assert (await client.get("/v1/all.csv")).status_code == 200, "the next request succeeds"
    shown = "".join(capfd.readouterr())
    assert "download-cut-off" in shown
    assert "Traceback" not in shown


async def test_after_a_client_has_left_its_file_is_not_read_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    real = figure_files.figures

    def counted(revision: figure_files.Row, rows: Iterable[figure_files.Row]) -> bytes:
        read.append(real(revision, rows))
        return read[-1]

    monkeypatch.setattr(figure_files, "figures", counted)
    async with serving(settings) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client, client.stream("GET", "/v1/all.csv"):
            pass

        async def unchanged() -> bool:
            before = len(read)
            await asyncio.sleep(1)
            return before == len(read)

        await until(unchanged, "no further figures are read")
        assert len(read) < WEEKS


async def test_memory_does_not_grow_with_the_number_of_weeks(settings: Settings) -> None:
    reader = Reader(lambda: postgres.pool(settings, NAME, reader_pool.CONNECTIONS))
    read = AllWeeks(reader)
    async with reader.connected():
        tip = await read.tip()
        [_ async for _ in read.revisions(tip)]
        length = 0
        tracemalloc.start()
        try:
            async for piece in read.figures(tip, newest=True):
                length += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert length > 20_000_000
    assert peak < 5_000_000


async def test_an_archive_is_made_once_for_concurrent_clients(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    begun, go = asyncio.Event(), asyncio.Event()
    real = package_file.write

    async def counted(weeks: AllWeeks, tip: Tip, file: object) -> None:
        made.append(tip.digest)
        begun.set()
        await go.wait()
        await real(weeks, tip, file)  # type: ignore[arg-type]

    monkeypatch.setattr(package_file, "write", counted)
    reader = Reader(lambda: postgres.pool(settings, NAME, reader_pool.CONNECTIONS))
    packages = PackageFiles(AllWeeks(reader))
    async with reader.connected():
        tip = await AllWeeks(reader).tip()
        first = asyncio.create_task(packages.get(tip, "tag"))
        await begun.wait()
        with monkeypatch.context() as short:
            short.setattr(package_file, "WAIT_SECONDS", 0.05)
            with pytest.raises(ProblemError) as refused:
                await packages.get(tip, "tag")
            assert (refused.value.status, refused.value.code) == (503, "data-package-in-progress")
        others = [asyncio.create_task(packages.get(tip, "tag")) for _ in range(5)]
        go.set()
        packed = await first
        assert {id(one) for one in await asyncio.gather(*others)} == {id(packed)}
        assert len(made) == 1
        newer = await packages.get(tip, "another tag")
        assert newer is not packed
        body = [b"".join([piece async for piece in one.pieces()]) for one in (packed, newer)]
        assert body[0] == body[1], "a replaced archive can still be read"
        assert len(body[0]) == packed.length
