"""Users of PostgreSQL with the roles of `deploy/roles.sql`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

ROLES = ("ddor_migrator", "ddor_aggregator", "ddor_publisher", "ddor_reader", "ddor_operator")


@asynccontextmanager
async def user(dsn: str, *grants: str, attributes: str = "") -> AsyncIterator[str]:
    """The DSN of a new user with these roles, in the database of the superuser's `dsn`. It is dropped afterwards."""
    name, password = f"ddor_test_{secrets.token_hex(6)}", secrets.token_hex(12)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' {attributes}")
        for grant in grants:
            await connection.execute(f"GRANT {grant} TO {name}")
        try:
            yield as_user(dsn, name, password)
        finally:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", name
            )
            await connection.execute(
                f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}"
            )
    finally:
        await connection.close()


def as_user(dsn: str, name: str, password: str) -> str:
    """The DSN with another user."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"))


def name_of(dsn: str) -> str:
    """The user in the DSN."""
    return urlsplit(dsn).username or ""
