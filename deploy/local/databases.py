"""Databases inside a PostgreSQL server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def database_dsn(dsn: str, name: str) -> str:
    """`dsn` with the database replaced by `name`."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def ensure_database(dsn: str, name: str, template: str = "template0") -> str:
    """Create database `name` on the server of `dsn` unless it exists. Returns its DSN.

    The new database is a copy of `template`, which must have no open connections. Raises ValueError if a name would
    need quoting, and asyncpg's errors if the server refuses.
    """

    async def ensure(connection: _Connection) -> None:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
            # A fixed collation, so that lists of codes and names have the same order on all machines.
            copied = f"TEMPLATE {_plain(template)} ENCODING 'UTF8' LOCALE 'C'"
            await connection.execute(f"CREATE DATABASE {_plain(name)} {copied}")

    run_on_server(dsn, ensure)
    return database_dsn(dsn, name)


def _plain(name: str) -> str:
    # Identifiers cannot be parameters of a statement.
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a plain database name: {name!r}")
    return name


def run_on_server(dsn: str, work: Callable[[_Connection], Awaitable[None]]) -> None:
    """Call `work` with a connection, from code with or without a running event loop."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            await work(connection)
        finally:
            await connection.close()

    # In a separate thread: the caller may be a fixture inside a running event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
