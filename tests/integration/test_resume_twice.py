"""Two operators resume a partition with a replaced log at the same time."""

from __future__ import annotations

import asyncio

import pytest

from services.cli import resume
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.positions import Connection
from tests.support.waiting import until

PARTITION = ("detainer-issued", 0)
ENDED_AT, REJECTED_AT = 100, 5


async def test_the_second_command_waits_and_does_nothing(
    store_settings: MakeSettings,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Offsets are shifted once by the length of the old log. Shifted twice, those of the new log would be below 0."""
    await connection.execute(
        "INSERT INTO partition_position (topic, partition, next_offset, owner, halted_reason)"
        " VALUES ($1, $2, $3, 'one', 'PositionLost: a test')",
        *PARTITION,
        ENDED_AT,
    )
    await connection.execute(
        "INSERT INTO rejected (topic, partition, kafka_offset, reason, detail, sha256) VALUES ($1, $2, $3, '', '', '')",
        *PARTITION,
        REJECTED_AT,
    )
    monkeypatch.setattr("services.cli.resume.settings.load", store_settings)

    async def both_wait() -> bool:
        waiting: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ddor-resume' AND wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        return waiting == 2

    async with kafka_log.connected(store_settings()) as other:
        async with other.transaction():
            await other.execute("SELECT FROM rejected FOR UPDATE")
            tasks = [
                asyncio.create_task(resume._resume("detainer-issued/0", by, at=0)) for by in ("a.smith", "b.jones")
            ]
            await until(both_wait, "both commands to wait")
            # The partition's worker releases its lease meanwhile, without waiting.
            await connection.execute("UPDATE partition_position SET owner = NULL", timeout=20)
        assert await asyncio.gather(*tasks) == [0, 0]
    output = capsys.readouterr().out
    assert output.count("detainer-issued/0: resumed at offset 0") == 1
    assert output.count("detainer-issued/0: is not halted; nothing to do") == 1
    assert await connection.fetchval("SELECT kafka_offset FROM rejected") == REJECTED_AT - ENDED_AT
    assert [row["ended_at"] for row in await connection.fetch("SELECT ended_at FROM replaced_log")] == [ENDED_AT]
    assert await connection.fetchval("SELECT count(*) FROM operator_action") == 1
