"""A real PostgreSQL with TLS, which requires client certificates of a user. The wheel of the tests has no TLS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
import pytest

from deploy.local import postgres_install
from deploy.local.databases import run_on_server
from deploy.local.postgres_install import Install
from deploy.local.postgres_native import NativePostgres
from tests.support.certificates import Authority, Issued
from tests.support.local_parts import started

USER, PASSWORD = "ddor_tls", "planted-Pa55word-of-the-test"
_RULES = f"""
hostssl all {USER} 127.0.0.1/32 scram-sha-256 clientcert=verify-full
host all ddor 127.0.0.1/32 scram-sha-256
"""
_SETTINGS = "\nssl = on\nssl_cert_file = 'tls.crt'\nssl_key_file = 'tls.key'\nssl_ca_file = 'trusted.pem'\n"


def _with_tls() -> Path:
    """The programs of a PostgreSQL with TLS."""
    for programs in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        config = subprocess.run([programs / "pg_config", "--configure"], capture_output=True, text=True, check=False)
        if (programs / "initdb").exists() and "openssl" in config.stdout:
            return programs
    pytest.skip("no PostgreSQL with TLS is installed: on Debian and Ubuntu, apt install postgresql")


class TlsPostgres:
    """The server, its CA, and the directory with the files of a client."""

    def __init__(self, part: NativePostgres, directory: Path) -> None:
        self.part = part
        self.directory = directory
        self.authority = Authority()
        self._data = part._data()
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS)
        (self._data / "pg_hba.conf").write_text(_RULES)
        self.write_server(self.authority)
        self.write(self.authority.issue(USER))
        self.authority.write(directory / "ca.pem")

    def write(self, issued: Issued) -> None:
        """Write client.crt and client.key."""
        issued.write(self.directory, "client")

    def write_server(self, authority: Authority) -> None:
        """Write the server's files. After its next start it uses and trusts certificates of `authority`."""
        files = *authority.issue().write(self._data), authority.write(self._data / "trusted.pem")
        owner = (self._data / "PG_VERSION").stat()
        for file in files:
            os.chown(file, owner.st_uid, owner.st_gid)

    def restart(self) -> None:
        """Stop it, which ends all sessions, and start it."""
        self.part.stop()
        self.part.start()

    def dsn(self, host: str = "127.0.0.1", **changes: str | None) -> str:
        """The address with verify-full and a client certificate; a parameter that is None is left out."""
        files = {"sslrootcert": "ca.pem", "sslcert": "client.crt", "sslkey": "client.key"}
        given = {"sslmode": "verify-full", **{name: str(self.directory / file) for name, file in files.items()}}
        query = {name: value for name, value in {**given, **changes}.items() if value is not None}
        return f"postgresql://{USER}:{PASSWORD}@{host}:{self.part.port}/postgres?{urlencode(query)}"


@contextmanager
def tls_postgres(directory: Path) -> Iterator[TlsPostgres]:
    """Start it. Skips the test if there is no PostgreSQL with TLS."""
    programs, found = _with_tls(), postgres_install.find_install()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_install, "find_install", lambda: Install(programs, found.account))
        with started(NativePostgres(directory / "postgres")) as part:
            server = TlsPostgres(part, directory)
            server.restart()

            async def add_user(connection: asyncpg.Connection[asyncpg.Record]) -> None:
                await connection.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")

            run_on_server(part.dsn, add_user)
            yield server
