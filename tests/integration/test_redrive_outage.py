"""Redriving while Kafka stops answering: it ends, and says what it had done until then."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.parts import KafkaPart
from services.aggregator.spans import digest
from services.cli import rejects
from services.cli.places import Place
from tests.conftest import MakeSettings
from tests.support import events, kafka_log
from tests.support.positions import Connection


async def test_what_was_sent_before_kafka_stopped_answering_is_said_and_the_command_ends(
    store_settings: MakeSettings,
    own_kafka: KafkaPart,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [events.message("issued", events.issued(number)) for number in range(2)]
    places = []
    for one, (topic, number, offset) in zip(told, await kafka_log.append(own_kafka.bootstrap, told), strict=True):
        await connection.execute(
            "INSERT INTO rejected (topic, partition, kafka_offset, reason, detail, sha256)"
            " VALUES ($1, $2, $3, 'internal_error', 'a test', $4)",
            topic, number, offset, digest(one.value),
        )  # fmt: skip
        places.append(f"{topic}/{number}/{offset}")
    first, second = places
    marked = rejects._marked

    def frozen(value: bytes | None, place: Place) -> bytes:
        """Kafka stops answering when the second is about to be sent."""
        if str(place) == second:
            own_kafka.pause()
        return marked(value, place)

    monkeypatch.setattr(rejects, "_marked", frozen)
    monkeypatch.setattr(rejects, "_PATIENCE", 1.0)
    monkeypatch.setattr(rejects, "_ENDING", 1.0)
    monkeypatch.setattr(
        "services.cli.rejects.settings.load", lambda: store_settings(kafka_bootstrap=own_kafka.bootstrap)
    )
    task = asyncio.create_task(rejects._redrive("a.smith", places, None))
    try:
        ended, _ = await asyncio.wait([task], timeout=60)
        said = capsys.readouterr()
    finally:
        own_kafka.resume()
        await asyncio.gather(task, return_exceptions=True)
    assert ended, "it waits for Kafka without end"
    assert isinstance(task.exception(), TimeoutError)
    assert f"{first}: sent again as detainer-issued/" in said.out
    assert f"{second}: is not known to be sent; those after it were not tried" in said.err
    rows = await connection.fetch("SELECT redriven_to IS NOT NULL AS done FROM rejected ORDER BY redriven_to")
    assert [row["done"] for row in rows] == [True, False]
