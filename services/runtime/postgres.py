"""Connections to PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from services.runtime.settings import Settings


async def prepare(connection: asyncpg.Connection[Any]) -> None:
    """Set a connection up: jsonb values are Python objects."""
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads, format="text")


def _arguments(settings: Settings, application: str) -> dict[str, Any]:
    return {
        "dsn": settings.postgres_dsn.get_secret_value(),
        "timeout": 5,
        "command_timeout": 60,
        # Compiling a statement takes longer than any here runs.
        "server_settings": {"application_name": application, "search_path": "ddor", "timezone": "UTC", "jit": "off"},
    }


async def connect(settings: Settings, application: str) -> asyncpg.Connection[Any]:
    """One connection, its search_path on schema `ddor`; 5 s to connect, 60 s a statement."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(**_arguments(settings, application))
    await prepare(connection)
    return connection


def pool(settings: Settings, application: str, size: int = 4) -> asyncpg.Pool[Any]:
    """A pool of at most `size` connections, none opened before it is entered or awaited."""
    return asyncpg.create_pool(
        min_size=0,
        max_size=size,
        init=prepare,
        max_inactive_connection_lifetime=60,
        **_arguments(settings, application),
    )
