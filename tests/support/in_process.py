"""A service's application in the process of the test, with its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Start the application, yield a client for it, and shut it down."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        yield client


async def is_ready(client: httpx.AsyncClient) -> bool:
    """Whether /readyz returns 200."""
    return (await client.get("/readyz")).status_code == 200
