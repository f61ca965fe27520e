"""Two publishers: one leads, the other serves. A stopped leader loses the lead and cannot write after it resumes."""

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

pytestmark = pytest.mark.real_kafka("is not used to fence stopped processes")

WEEKS = ("2017-01-28", "2017-02-04", "2017-02-11")


async def _leader(connection: Connection) -> int | None:
    """The process id of the leading session: named in the leader's row, and alive."""
    pid: int | None = await connection.fetchval(
        "SELECT backend_pid FROM publisher_leader JOIN pg_stat_activity ON pid = backend_pid"
    )
    return pid


async def _digests(kafka: KafkaPart, topic: str) -> list[tuple[str, str]]:
    events = [json.loads(one.value or b"") for one in await kafka_log.read(kafka.bootstrap, topic)]
    return [(event["subject"], event["data"]["digest"]) for event in events]


async def test_a_stopped_leader_loses_the_lead_and_writes_nothing_when_it_resumes(
    system: Stack, own_kafka: KafkaPart, empty_database: str
) -> None:
    first = system.services["publisher"]
    second = system.another("publisher", "publisher-2")
    async with looking(empty_database) as connection:
        led_first = await until(lambda: _leader(connection), "a leader")
        await asyncio.to_thread(second.start)
        await asyncio.to_thread(system.run, "close", WEEKS[0])
        assert await _leader(connection) == led_first, "the second serves and does not lead"

        first.pause()
        try:
            output = await asyncio.to_thread(system.run, "close", WEEKS[1])
            assert "issued 0, declined 0" in output
            led_second = await _leader(connection)
            assert led_second not in (None, led_first)
        finally:
            first.resume()
        await asyncio.to_thread(first.wait_ready)
        await asyncio.to_thread(system.run, "close", WEEKS[2])
        assert await _leader(connection) == led_second, "the first resumes without the lead"

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
