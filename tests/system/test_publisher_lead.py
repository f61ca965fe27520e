"""Two publishers: one leads, the other serves; a leader that is stopped is cut off and cannot write when it goes on."""

from __future__ import annotations

import asyncio
import json

import pytest

from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from schemas.topics import REPORT_LATEST, REPORT_READY
from tests.support import kafka_log
from tests.support.positions import Connection
from tests.support.stacks import looking
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("is not asked to fence processes that were stopped")

WEEKS = ("2017-01-28", "2017-02-04", "2017-02-11")


async def _leader(connection: Connection) -> int | None:
    """The session that has the lead: the one that the leader's row names and that lives."""
    pid: int | None = await connection.fetchval(
        "SELECT backend_pid FROM publisher_leader JOIN pg_stat_activity ON pid = backend_pid"
    )
    return pid


async def _digests(kafka: KafkaPart, topic: str) -> list[tuple[str, str]]:
    events = [json.loads(one.value or b"") for one in await kafka_log.read(kafka.bootstrap, topic)]
    return [(event["subject"], event["data"]["digest"]) for event in events]


async def test_a_stopped_leader_is_cut_off_and_writes_nothing_when_it_goes_on(
    system: Stack, own_kafka: KafkaPart, empty_database: str
) -> None:
    first = system.services["publisher"]
    second = system.another("publisher", "publisher-2")
    async with looking(empty_database) as connection:
        led_first = await until(lambda: _leader(connection), "a leader")
        await asyncio.to_thread(second.start)
        await asyncio.to_thread(system.run, "close", WEEKS[0])
        assert await _leader(connection) == led_first, "the second serves and waits"

        first.pause()
        try:
            said = await asyncio.to_thread(system.run, "close", WEEKS[1])
            assert "issued 0, declined 0" in said
            led_second = await _leader(connection)
            assert led_second not in (None, led_first)
        finally:
            first.resume()
        await asyncio.to_thread(first.wait_ready)
        await asyncio.to_thread(system.run, "close", WEEKS[2])
        assert await _leader(connection) == led_second, "the first goes on as one that waits"

        rows = await connection.fetch("SELECT week::text, digest FROM report ORDER BY sequence")
        written = [(row["week"], row["digest"]) for row in rows]
        assert [week for week, _ in written] == list(WEEKS)
        assert await _digests(own_kafka, REPORT_READY) == written
        assert await _digests(own_kafka, REPORT_LATEST) == written

        await asyncio.to_thread(second.kill)
        await until(lambda: _taken_back(connection, led_second), "the first leading again")
        await asyncio.to_thread(system.run, "close", "2017-02-18")
        assert len(await _digests(own_kafka, REPORT_READY)) == 4


async def _taken_back(connection: Connection, former: int | None) -> bool:
    return await _leader(connection) not in (None, former)
