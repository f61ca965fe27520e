"""Which agencies may send, and how much. Checked before each request and before each window of a stream."""

from __future__ import annotations

import asyncio

from services.ingest.body.errors import CutOffError
from services.ingest.limits import RateLimiter
from services.ingest.stream.windows import WINDOW, StreamEndedError
from services.runtime import metrics
from services.runtime.agencies import AgenciesFile, Agency
from services.runtime.clock import Clock
from services.runtime.logs import get

log = get(__name__)

RATE_SECONDS = 300.0
"""Longest wait of a stream for its agency's rate, which other requests of the agency can use up."""
_PAUSE = 0.5
"""Seconds between two checks of an exhausted rate. Each also checks the key, so a revoked key ends the wait."""


class Admission:
    """Checks keys against the agencies file, and events against the rates. Setting `stopping` ends all waits."""

    def __init__(self, agencies: AgenciesFile, clock: Clock, rates: RateLimiter, stopping: asyncio.Event) -> None:
        self._agencies = agencies
        self._clock = clock
        self._rates = rates
        self._stopping = stopping

    @property
    def knows_agencies(self) -> bool:
        """Whether a valid agencies file has been read."""
        return self._agencies.current() is not None

    def agency(self, key: str, client: str | None) -> Agency | None:
        """The agency of a key; None if either may not send now. The log then has the client's address, not the key."""
        agencies = self._agencies.current()
        holder = agencies.by_key(key) if agencies else None
        if holder is not None and holder.may_send(self._clock()):
            return holder.agency
        log.warning("refused", code="unknown-key", client=client, agency=holder.agency.name if holder else None)
        metrics.INGEST_EVENTS.labels("unknown", "refused", "unknown-key").inc()
        return None

    async def window(self, key: str, client: str | None) -> tuple[Agency, int]:
        """The agency of the next window of a stream, and how many lines the window may have. Waits for the rate.

        Raises StreamEndedError if the key is no longer valid or the wait is too long, CutOffError if this process is
        stopping.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + RATE_SECONDS
        while True:
            agency = self.agency(key, client)
            if agency is None:
                raise StreamEndedError("unknown-key", "the key no longer belongs to an agency that may send")
            if lines := self._rates.room(agency, WINDOW):
                return agency, lines
            if clock() >= until:
                detail = f"{agency.name} has exceeded its rate for {RATE_SECONDS:.0f} seconds; wait, then continue"
                raise StreamEndedError("too-many-events", detail)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_PAUSE):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise CutOffError

    def wait(self, agency: Agency) -> int:
        """Seconds until the agency may send again; 0 if it may send now."""
        return self._rates.wait(agency)

    def took(self, agency: Agency, events: int) -> None:
        """Count events that were read against the agency's rate."""
        self._rates.took(agency, events)
