"""A real PostgreSQL with TLS: client certificates, the sentence for each wrong file, and new certificates."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg
import httpx
import pytest

from services.runtime import error_messages, postgres
from services.runtime.errors import AwayError, ConfigurationError
from services.runtime.settings import Settings
from tests.support.certificates import Authority
from tests.support.local_parts import migrated
from tests.support.serving import reading
from tests.support.tls_postgres import USER, TlsPostgres, tls_postgres
from tests.support.waiting import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgres]:
    with tls_postgres(tmp_path_factory.mktemp("tls-postgres")) as one:
        yield one


async def shown(dsn: str) -> tuple[str, str]:
    """TLS version and subject of the client's certificate, as the server sees them."""
    connection = await postgres.connect(Settings(postgres_dsn=dsn), "ddor-test")
    try:
        row = await connection.fetchrow("SELECT version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    finally:
        await connection.close()
    assert row is not None
    return row["version"], row["client_dn"]


async def test_the_server_sees_the_certificate(server: TlsPostgres) -> None:
    assert await shown(server.dsn()) == ("TLSv1.3", f"/CN={USER}")
    assert await shown(server.dsn(ssl_max_protocol_version="TLSv1.2")) == ("TLSv1.2", f"/CN={USER}")


class Wrong(NamedTuple):
    """A faulty address, and the expected message (a regex)."""

    what: str
    dsn: Callable[[TlsPostgres, Path], str]
    sentence: str


def _client(server: TlsPostgres, directory: Path, authority: Authority, user: str, days: float) -> str:
    certificate, key = authority.issue(user, days=days).write(directory)
    return server.dsn(sslcert=str(certificate), sslkey=str(key))


_REFUSED = (
    r"TLS with PostgreSQL at [\d.:]+ failed \([A-Z_0-9]+\): correct the ssl parameters of DDOR_POSTGRES_DSN|"
    r"PostgreSQL at [\d.:]+ has closed the connection after the TLS handshake: if it verifies client certificates,"
    r" correct sslcert and sslkey in DDOR_POSTGRES_DSN"
)
WRONG = (
    Wrong(
        "another CA",
        lambda server, directory: server.dsn(sslrootcert=str(Authority("another").write(directory / "other.pem"))),
        r"PostgreSQL at [\d.:]+ has a certificate that is not trusted \(.+\): correct sslrootcert or host",
    ),
    Wrong(
        "another host",
        lambda server, _: server.dsn("localhost"),
        r"PostgreSQL at localhost:\d+ has a certificate that is not trusted \(Hostname mismatch.+\): correct",
    ),
    Wrong(
        "no client certificate",
        lambda server, _: server.dsn(sslcert=None, sslkey=None),
        r"PostgreSQL rejects the login \(connection requires a valid client certificate\): correct sslcert and sslkey"
        r" in DDOR_POSTGRES_DSN, or pg_hba.conf",
    ),
    Wrong(
        "of another user",
        lambda server, directory: _client(server, directory, server.authority, "another", 5),
        r"PostgreSQL rejects the login \(password authentication failed .+\): correct user and password in",
    ),
    Wrong("expired", lambda server, directory: _client(server, directory, server.authority, USER, -1), _REFUSED),
    Wrong("of another CA", lambda server, directory: _client(server, directory, Authority("x"), USER, 5), _REFUSED),
    Wrong(
        "key of another certificate",
        lambda server, directory: server.dsn(sslkey=str(server.authority.issue(USER).write(directory)[1])),
        r"TLS with PostgreSQL at [\d.:]+ failed \(KEY_VALUES_MISMATCH\): correct the ssl parameters",
    ),
)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.what)
async def test_a_wrong_file_is_named(server: TlsPostgres, tmp_path: Path, wrong: Wrong, version: str) -> None:
    dsn = f"{wrong.dsn(server, tmp_path)}&ssl_max_protocol_version={version}"
    with pytest.raises((ConfigurationError, AwayError, asyncpg.PostgresError)) as caught:
        await postgres.connect(Settings(postgres_dsn=dsn), "ddor-test")
    sentence = error_messages.message(caught.value)
    assert sentence is not None
    assert re.match(wrong.sentence, sentence), sentence
    assert "planted" not in sentence


async def test_new_files_are_used_for_new_connections_without_a_restart(server: TlsPostgres) -> None:
    """The CA of both sides is replaced: first in the files of a running service, then by a restart of the server."""
    await migrated(server.dsn())
    chosen = Settings(postgres_dsn=server.dsn(), first_week="2017-01-28")
    successor = Authority("the next one")
    async with reading(chosen) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(is_ready, "ready")
        server.write(successor.issue(USER))
        successor.write(server.directory / "ca.pem")
        assert await is_ready(), "the open connections continue"
        server.write_server(successor)
        await asyncio.to_thread(server.restart)
        await until(is_ready, "ready with the new certificates")
        assert (await client.get("/v1/reports")).status_code == 200
        assert await shown(server.dsn()) == ("TLSv1.3", f"/CN={USER}")
