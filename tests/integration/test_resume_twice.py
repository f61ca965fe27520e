"""Two operators say at once that another log has taken the place of the one that was read."""

from __future__ import annotations

import asyncio

import pytest

from services.cli import resuming
from tests.conftest import MakeSettings
from tests.support import kafka_log
from tests.support.positions import Connection
from tests.support.waiting import until

PLACE = ("detainer-issued", 0)
ENDED_AT, REJECTED_AT = 100, 5


async def test_the_second_waits_and_finds_that_it_is_done(
    store_settings: MakeSettings,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Places are moved by the length of the log that is gone, once: moved twice, the new log's would lie below 0."""
    await connection.execute(
        "INSERT INTO partition_position (topic, partition, next_offset, owner, halted_reason)"
        " VALUES ($1, $2, $3, 'one', 'PositionLost: a test')",
        *PLACE,
        ENDED_AT,
    )
    await connection.execute(
        "INSERT INTO rejected (topic, partition, kafka_offset, reason, detail, sha256) VALUES ($1, $2, $3, '', '', '')",
        *PLACE,
        REJECTED_AT,
    )
    monkeypatch.setattr("services.cli.resuming.settings.load", store_settings)

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
                asyncio.create_task(resuming._resume("detainer-issued/0", by, at=0)) for by in ("a.smith", "b.jones")
            ]
            await until(both_wait, "both at work")
            # The partition's worker signs off meanwhile, and need not wait.
            await connection.execute("UPDATE partition_position SET owner = NULL", timeout=20)
        assert await asyncio.gather(*tasks) == [0, 0]
    said = capsys.readouterr().out
    assert said.count("detainer-issued/0: goes on at offset 0") == 1
    assert said.count("detainer-issued/0: is not halted; nothing to do") == 1
    assert await connection.fetchval("SELECT kafka_offset FROM rejected") == REJECTED_AT - ENDED_AT
    assert [row["ended_at"] for row in await connection.fetch("SELECT ended_at FROM replaced_log")] == [ENDED_AT]
    assert await connection.fetchval("SELECT count(*) FROM operator_action") == 1
