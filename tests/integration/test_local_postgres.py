"""One conformance suite for every PostgreSQL that this machine can run."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy.local import parts
from deploy.local.databases import database_dsn, ensure_database
from deploy.local.errors import PartFailedError
from deploy.local.parts import PostgresPart
from deploy.local.ports import LOOPBACK
from deploy.local.probes import postgres_answers, wait_until
from tests.support.local_parts import drop_database, started

POSTGRESES = [one for one in parts.postgres_providers() if one.source != "settings"]


# Not the PostgreSQL of the session: these tests kill or stop it.
@pytest.fixture(scope="module", params=POSTGRESES, ids=lambda provider: provider.source)
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresPart]:
    if lacking := request.param.missing():
        pytest.skip(" ".join(lacking))
    with started(request.param.build(tmp_path_factory.mktemp("postgres"), 0)) as part:
        yield part
    assert not part.running()


async def test_committed_rows_and_the_address_survive_a_kill(postgres: PostgresPart) -> None:
    dsn = ensure_database(postgres.dsn, "killed")
    async with _connection(dsn) as connection:
        await connection.execute("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)")
        postgres.kill()
        assert not postgres.running()
    postgres.start()
    assert database_dsn(postgres.dsn, "killed") == dsn
    async with _connection(dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM t") == 1000


def test_a_server_whose_port_was_taken_is_not_started(postgres: PostgresPart) -> None:
    """The other program could respond in its place."""
    port = urlsplit(postgres.dsn).port
    postgres.stop()
    with socket.create_server((LOOPBACK, port or 0)):
        with pytest.raises(PartFailedError, match=f"{port}"):
            postgres.start()
        assert not postgres.running()
    postgres.start()
    assert postgres_answers(postgres.dsn)


async def test_it_is_postgresql_18_with_default_durability(postgres: PostgresPart) -> None:
    async with _connection(postgres.dsn) as connection:
        assert connection.get_server_version().major == 18
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await connection.fetchval("SELECT current_setting($1)", setting) == "on"
        assert await connection.fetchval("SELECT current_setting('server_encoding')") == "UTF8"


async def test_a_wrong_password_is_refused(postgres: PostgresPart) -> None:
    before, _, after = postgres.dsn.partition("@")
    assert not postgres_answers(f"{before}x@{after}")


async def test_databases_are_made_once_and_dropped(postgres: PostgresPart) -> None:
    dsn = ensure_database(postgres.dsn, "once")
    assert ensure_database(postgres.dsn, "once") == dsn
    assert postgres_answers(dsn)
    drop_database(postgres.dsn, "once")
    assert not postgres_answers(dsn)
    with pytest.raises(ValueError, match="plain"):
        ensure_database(postgres.dsn, 'a"; drop')


async def test_a_paused_postgresql_does_not_respond_and_resumes(postgres: PostgresPart) -> None:
    async with _connection(postgres.dsn) as connection:
        postgres.pause()
        try:
            with pytest.raises(TimeoutError):
                await connection.fetchval("SELECT 1", timeout=0.5)
            assert not postgres_answers(postgres.dsn, timeout=0.5)
        finally:
            postgres.resume()
        wait_until(lambda: postgres_answers(postgres.dsn), seconds=60, what="a resumed PostgreSQL")


async def test_a_restarted_postgresql_has_the_same_address(postgres: PostgresPart) -> None:
    dsn = postgres.dsn
    postgres.stop()
    postgres.start()
    assert postgres.dsn == dsn
    assert postgres_answers(dsn)


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()
