"""A background task that reads the files of certificates again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from services.runtime.logs import get
from services.runtime.tls.expiry import Expiries
from services.runtime.tls.reloaded import Reloaded

log = get(__name__)

EVERY_SECONDS = 2.0


@asynccontextmanager
async def watching(reloaded: Sequence[Reloaded[Any]], expiries: Expiries) -> AsyncIterator[None]:
    """Refresh these every two seconds, in a thread, during the context. Without any there is no task."""
    if not reloaded and not expiries.files:
        yield
        return

    def look() -> None:
        try:
            for one in reloaded:
                one.refresh()
            expiries.refresh()
        except Exception:  # a defect; a task that ends would look at no later change
            log.exception("certificates-not-read")

    async def look_always() -> None:
        while True:
            await asyncio.to_thread(look)
            await asyncio.sleep(EVERY_SECONDS)

    task = asyncio.create_task(look_always(), name="certificates")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
