"""`python -m tests.chaos.wrong …`: the project's command line with a deliberately faulty aggregator.

It shows that the harness can fail: DDOR_TEST_WRONG=unfenced writes without the fence, DDOR_TEST_WRONG=early moves the
positions before it writes the facts.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from services.aggregator import worker
from services.aggregator.decoding import Batch
from services.aggregator.spans import Claim
from services.aggregator.store import Store, WriteResult
from services.aggregator.transaction import transaction
from services.cli.main import main

WINDOW_SECONDS = 3.0
"""Almost the whole time of a batch, so that a blow at any moment falls into it."""


class Unfenced(Store):
    """Writes regardless of owner and position of the partitions.

    It waits outside the transaction, where a suspended process does not lose its connection.
    """

    async def write(self, batch: Batch) -> WriteResult:
        """Wait, then write without the fence."""
        await asyncio.sleep(WINDOW_SECONDS)
        return await super().write(batch)

    async def _fence(self, _claims: Sequence[Claim]) -> None:
        """Nothing."""


class Early(Store):
    """Two transactions: the positions, and shortly after the facts."""

    async def write(self, batch: Batch) -> WriteResult:
        """With the fence, but in two transactions."""
        await self._load_agencies({one.fact.agency for one in (*batch.winners, *batch.others)})
        await self._load_agencies({one.attestation.agency for one in batch.attestations})
        async with transaction(self._connection):
            await self._fence(batch.claims)
            await self._advance(batch.claims, Counter())
        await asyncio.sleep(WINDOW_SECONDS)
        async with transaction(self._connection):
            await self._stage(batch)
            won, superseded = await self._write_facts(batch)
            won += await self._write_attestations(batch.attestations)
            await self._write_rejects(batch.rejects)
            accepted = Counter({one.partition: one.records - one.rejected for one in batch.claims})
            await self._advance(
                [replace(one, records=0, rejected=0) for one in batch.claims], accepted - won - superseded
            )
        return WriteResult(Counter(), {})


WRONG = {"unfenced": Unfenced, "early": Early}

if __name__ == "__main__":
    worker.Store = WRONG[os.environ["DDOR_TEST_WRONG"]]  # type: ignore[attr-defined]
    main()
