"""`ddor rejected redrive` while Kafka stops responding: it exits and reports the records sent before."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.parts import KafkaPart
from schemas.log import RecordAddress
from services.aggregator.spans import digest
from services.cli import rejected
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.positions import Connection


async def test_records_sent_before_kafka_stopped_responding_are_reported(
    store_settings: MakeSettings,
    own_kafka: KafkaPart,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    messages = [events.message("issued", events.issued(number)) for number in range(2)]
    addresses = []
    where = await kafka_log.append(own_kafka.bootstrap, messages)
    for one, (topic, number, offset) in zip(messages, where, strict=True):
        await connection.execute(
            "INSERT INTO rejected (topic, partition, kafka_offset, reason, detail, sha256)"
            " VALUES ($1, $2, $3, 'internal_error', 'a test', $4)",
            topic, number, offset, digest(one.value),
        )  # fmt: skip
        addresses.append(f"{topic}/{number}/{offset}")
    first, second = addresses
    marked = rejected._marked

    def frozen(value: bytes | None, address: RecordAddress) -> bytes:
        """Kafka stops responding when the second record is about to be sent."""
        if str(address) == second:
            own_kafka.pause()
        return marked(value, address)

    monkeypatch.setattr(rejected, "_marked", frozen)
    monkeypatch.setattr(rejected, "_PATIENCE", 1.0)
    monkeypatch.setattr(rejected, "_ENDING", 1.0)
    monkeypatch.setattr(
        "services.cli.rejected.settings.load", lambda: store_settings(kafka_bootstrap=own_kafka.bootstrap)
    )
    task = asyncio.create_task(rejected._redrive("a.smith", addresses, None))
    try:
        ended, _ = await asyncio.wait([task], timeout=60)
        printed = capsys.readouterr()
    finally:
        own_kafka.resume()
        await asyncio.gather(task, return_exceptions=True)
    assert ended, "waits for Kafka forever"
    assert isinstance(task.exception(), TimeoutError)
    assert f"{first}: sent again as detainer-issued/" in printed.out
    assert f"{second}: it is unknown whether this record was sent; the records after it were not sent" in printed.err
    rows = await connection.fetch("SELECT redriven_to IS NOT NULL AS done FROM rejected ORDER BY redriven_to")
    assert [row["done"] for row in rows] == [True, False]
