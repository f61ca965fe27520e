"""Who may send now, and how much: asked at the head of a request, and again for each window of a stream."""

from __future__ import annotations

import asyncio

from services.ingest.rates import Rates
from services.ingest.windows import WINDOW, CutOffError, StreamEndedError
from services.runtime import metrics
from services.runtime.agencies import AgenciesFile, Agency
from services.runtime.clock import Clock
from services.runtime.logs import get

log = get(__name__)

RATE_SECONDS = 300.0
"""How long a stream may be held back at once: other requests of its agency can leave nothing of the rate for it."""
_PAUSE = 0.5
"""Between two looks at a rate that is used up: a key that is taken out meanwhile ends the wait."""


class Admission:
    """What the agencies file says at this moment, and the rates. `stopping` ends all waiting."""

    def __init__(self, agencies: AgenciesFile, clock: Clock, rates: Rates, stopping: asyncio.Event) -> None:
        self._agencies = agencies
        self._clock = clock
        self._rates = rates
        self._stopping = stopping

    @property
    def knows_agencies(self) -> bool:
        """Whether the file of agencies could be read, now or before."""
        return self._agencies.current() is not None

    def agency(self, key: str, client: str | None) -> Agency | None:
        """Whose key it is, if both may send now; else None, and the log has the client's address and no key."""
        agencies = self._agencies.current()
        holder = agencies.by_key(key) if agencies else None
        if holder is not None and holder.may_send(self._clock()):
            return holder.agency
        log.warning("refused", code="unknown-key", client=client, agency=holder.agency.name if holder else None)
        metrics.INGEST_EVENTS.labels("unknown", "refused", "unknown-key").inc()
        return None

    async def window(self, key: str, client: str | None) -> tuple[Agency, int]:
        """Whose the next window of a stream is, and how many lines it may have. Waits while the rate is used up.

        StreamEndedError when the key is no longer good or the wait too long, CutOffError when this process is to stop.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + RATE_SECONDS
        while True:
            agency = self.agency(key, client)
            if agency is None:
                raise StreamEndedError("unknown-key", "the key is no longer one of an agency that may send")
            if lines := self._rates.room(agency, WINDOW):
                return agency, lines
            if clock() >= until:
                detail = f"{agency.name} has sent more than its rate for {RATE_SECONDS:.0f} seconds; wait, then go on"
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
        """Seconds until the agency may send again; 0 when it may now."""
        return self._rates.wait(agency)

    def took(self, agency: Agency, events: int) -> None:
        """Count events that were read against the agency's rate."""
        self._rates.took(agency, events)
