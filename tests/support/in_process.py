"""A service's application inside the test's own process, with its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """The application started, and a client that calls it; ended in an orderly way."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        yield client


async def is_ready(client: httpx.AsyncClient) -> bool:
    """Whether /readyz is 200."""
    return (await client.get("/readyz")).status_code == 200
