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


def ensure_database(dsn: str, name: str) -> str:
    """Create database `name` on the server of `dsn` unless it is there, and return the DSN that opens it.

    Raises ValueError for a name that would need quoting, asyncpg's errors if the server refuses.
    """

    async def ensure(connection: _Connection) -> None:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
            # Lists of codes and names, sorted by us: the collation must not differ between machines.
            await connection.execute(f"CREATE DATABASE {_plain(name)} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")

    _on_server(dsn, ensure)
    return database_dsn(dsn, name)


def drop_database(dsn: str, name: str) -> None:
    """Drop database `name`, ending its connections; nothing if it does not exist. `dsn` opens another one."""

    async def drop(connection: _Connection) -> None:
        await connection.execute(f"DROP DATABASE IF EXISTS {_plain(name)} WITH (FORCE)")

    _on_server(dsn, drop)


def _plain(name: str) -> str:
    # A statement's identifiers can't be parameters.
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a plain database name: {name!r}")
    return name


def _on_server(dsn: str, work: Callable[[_Connection], Awaitable[None]]) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            await work(connection)
        finally:
            await connection.close()

    # A thread of its own: the caller may be a fixture inside a running event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
