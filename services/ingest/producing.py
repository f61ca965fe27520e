"""Storing accepted events in Kafka: acks=all, idempotent, in batches by partition, with a deadline of our own.

An idempotent aiokafka producer never gives up by itself, so what is not acknowledged in time is answered `unavailable`
though it may still be written. Sending it again cannot count twice.

A producer of which a batch has failed is replaced by a new one while events come in: see `Link` for why, and
`EventProducer.start` for how.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from services.ingest.intake import PARTITIONS, Accepted, Judged, Rejected
from services.ingest.lanes import Link, Share
from services.ingest.receipts import Receipt
from services.runtime.errors import is_transient
from services.runtime.logs import get

log = get(__name__)

DEADLINE_SECONDS = 5.0
_RENEW_EVERY = 5.0
"""Seconds between two producers at least: each has an id that the brokers remember for a day."""
_START_SECONDS = 30.0


class EventProducer:
    """The producer of one ingest process."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = client
        self._link = Link(client)
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect; KafkaError when no broker answers.

        From then on a link of which a batch has failed is replaced. That closes no door: one partition that has no
        leader for minutes, or refuses what is sent, fails again and again, and the others are to be served meanwhile.
        So a new link is started beside the failed one, which still serves all partitions but those that failed; then
        the new one is given what comes, and the failed one settles what it has and ends.
        """
        await self._link.start()
        self._renewing = asyncio.create_task(self._renew(), name="renewing")

    def partitions(self) -> dict[str, int]:
        """How many partitions each topic has, as seen at most half a minute ago."""
        return {name: self._link.partitions(name) or made for name, made in PARTITIONS.items()}

    async def stop(self, seconds: float = 5.0) -> None:
        """Send what is buffered and close, or close without it when Kafka stays away.

        Those who wait for an acknowledgement are told at once that there is none.
        """
        ends = [asyncio.ensure_future(self._stop(self._link, seconds))]
        if self._renewing is not None:
            self._renewing.cancel()
            ends.append(self._renewing)
        await asyncio.gather(*ends, return_exceptions=True)
        ends[0].result()

    async def store(self, judged: Sequence[Judged]) -> list[Receipt]:
        """Write what was accepted; answers a receipt for each, in the order given."""
        groups: dict[tuple[str, int], list[Accepted]] = {}
        for one in judged:
            if type(one) is Accepted:
                groups.setdefault((one.topic, one.partition), []).append(one)
        offsets: dict[int, int] = {}
        if groups:
            await self._send(groups, offsets)
        return [_receipt(one, offsets) for one in judged]

    async def _send(self, groups: Mapping[tuple[str, int], list[Accepted]], offsets: dict[int, int]) -> None:
        """Send events and note the offset of each line that is acknowledged before the deadline."""
        shares = {place: Share(events, offsets) for place, events in groups.items()}
        link = self._link
        try:
            for place, share in shares.items():
                link.lane(place).add(share)
            await asyncio.wait([share.done for share in shares.values()], timeout=DEADLINE_SECONDS)
        finally:
            errors = {share.close() for share in shares.values()} - {None}
        if errors:
            log.warning("events-not-stored", errors=sorted(map(str, errors)))

    async def _renew(self) -> None:
        """Replace each link that has failed, for as long as this task lives."""
        clock = asyncio.get_running_loop().time
        renewed_at = -math.inf
        while True:
            await self._link.failed.wait()
            await asyncio.sleep(renewed_at + _RENEW_EVERY - clock())
            renewed_at = clock()
            try:
                await self._replace()
            except Exception as error:  # whatever it is, the failed link still serves what has not failed
                unknown = None if is_transient(error) else error
                log.warning("producer-not-replaced", error=type(error).__name__, exc_info=unknown)

    async def _replace(self) -> None:
        given_up = fresh = Link(self._client)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await fresh.start()
            given_up, self._link = self._link, fresh
            log.warning("producer-replaced")
            await given_up.settle(DEADLINE_SECONDS)
        finally:
            await given_up.stop(0)

    async def _stop(self, link: Link, seconds: float) -> None:
        if not await link.stop(seconds):
            log.warning("producer-closed-with-unsent-events")


def _receipt(one: Judged, offsets: Mapping[int, int]) -> Receipt:
    if isinstance(one, Rejected):
        return one.receipt
    offset = offsets.get(one.line)
    return one.unavailable() if offset is None else one.stored(offset)
