"""A plain service for comparison: FastStream delivers one record, which is upserted, committed and acknowledged."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import asyncpg
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from tests.bench.plain_model import PlainEvent

_UPSERT = (
    "INSERT INTO ledger_entry (detainer_id, fingerprint, version, kafka_offset, kind, week, agency, partition,"
    " withdrawn, jurisdiction, form) VALUES ($1, '', $2, 0, 'issued', '2017-01-28', 1, 0, false, $3, $4)"
    " ON CONFLICT (kind, agency, detainer_id) DO UPDATE SET version = EXCLUDED.version"
)


async def count(bootstrap: str, connection: asyncpg.Connection[Any], records: int) -> float:
    """Records per second over the first `count` records."""
    broker = KafkaBroker(bootstrap, logger=None)
    done = asyncio.Event()
    counted = 0
    began = 0.0

    @broker.subscriber("detainer-issued", group_id="plain", auto_offset_reset="earliest", ack_policy=AckPolicy.ACK)
    async def handle(body: bytes) -> None:
        nonlocal counted, began
        event = PlainEvent.model_validate_json(body)
        began = began or perf_counter()
        if counted < records:
            await connection.execute(
                _UPSERT, event.data.detainer_id, event.data.version, event.data.jurisdiction, event.data.form
            )
        counted += 1
        if counted == records:
            done.set()

    async with broker:
        await broker.start()
        await done.wait()
        return records / (perf_counter() - began)
