"""`python -m tests.chaos.wrong …`: the project's command line with an aggregator that is wrong on purpose.

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
from services.aggregator.spans import Claim
from services.aggregator.store import Store, Written
from services.aggregator.tally import Batch
from services.aggregator.transaction import transaction
from services.cli.main import app


class Unfenced(Store):
    """Writes whoever owns the partitions and wherever they are.

    It waits a little outside the transaction, where a process that is stopped keeps its connection.
    """

    async def write(self, batch: Batch) -> Written:
        """Late, and without asking."""
        await asyncio.sleep(1)
        return await super().write(batch)

    async def _fence(self, _claims: Sequence[Claim]) -> None:
        """Nothing."""


class Early(Store):
    """Two transactions: the positions, and a little later the facts."""

    async def write(self, batch: Batch) -> Written:
        """Fenced, but not together."""
        await self._learn_agencies({one.fact.agency for one in (*batch.winners, *batch.others)})
        await self._learn_agencies({one.attestation.agency for one in batch.attested})
        async with transaction(self._connection):
            await self._fence(batch.claims)
            await self._move(batch.claims, Counter())
        await asyncio.sleep(0.5)
        async with transaction(self._connection):
            await self._stage(batch)
            won, kept = await self._write_facts(batch)
            won += await self._write_attested(batch.attested)
            await self._write_rejects(batch.rejects)
            told = Counter({one.partition: one.records - one.rejected for one in batch.claims})
            await self._move([replace(one, records=0, rejected=0) for one in batch.claims], told - won - kept)
        return Written(Counter(), {})


WRONG = {"unfenced": Unfenced, "early": Early}

if __name__ == "__main__":
    worker.Store = WRONG[os.environ["DDOR_TEST_WRONG"]]  # type: ignore[attr-defined]
    app()
