"""`ddor topics grow` while everything runs: every record is read, and an open week closes exactly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from deploy.local.parts import KafkaPart
from schemas.log import Partition
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED, partition_of
from schemas.week import ReportingWeek
from services.aggregator import app as aggregator
from services.ingest import app as ingest
from services.ingest.kafka import producer
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support import commands, database_outcome, kafka_log, model
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.batches import accepted
from tests.support.in_process import is_ready, running
from tests.support.kafka_log import EVENT_PARTITIONS, Message
from tests.support.life import both, detainer, newest
from tests.support.positions import Connection, next_offsets, owners
from tests.support.processes import BATCH, batch
from tests.support.publishing import Publisher, new_week, publishing
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("has a fixed number of partitions")
GROWN = 18
ADDED = [Partition(DETAINER_ISSUED, number) for number in range(12, GROWN)]
NUMBERS = range(60)


@pytest.fixture(scope="module")
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
def chosen(store_settings: MakeSettings, own_kafka: KafkaPart, week: ReportingWeek) -> Settings:
    """On empty topics: the log is read from its beginning."""
    return store_settings(kafka_bootstrap=own_kafka.bootstrap, first_week=week.first, worker="one")


@pytest.fixture
async def publisher(chosen: Settings, week: ReportingWeek) -> AsyncIterator[Publisher]:
    async with publishing(chosen, week.begins_at) as one:
        yield one


def regrown(messages: list[Message]) -> list[Message]:
    """The messages, each in the partition of its key."""
    return [
        replace(one, partition=partition_of(one.key or b"", GROWN)) if one.topic == DETAINER_ISSUED else one
        for one in messages
    ]


async def test_partitions_added_after_the_barrier_are_read_from_their_beginning_and_the_close_is_exact(
    chosen: Settings, connection: Connection, publisher: Publisher, week: ReportingWeek
) -> None:
    log = both(NUMBERS, week)
    bootstrap = chosen.kafka_bootstrap
    await kafka_log.append(bootstrap, log)
    async with (
        running(aggregator.create(chosen)) as one,
        running(aggregator.create(chosen.model_copy(update={"worker": "two"}))),
    ):
        await until(lambda: is_ready(one), "the aggregator ready")
        await kafka_log.counted(connection, bootstrap)
        publisher.clock.now = week.ends_at + chosen.grace
        assert await publisher.step(), "the barrier of twelve partitions"

        done = await commands.ddor(chosen, "topics", "grow", DETAINER_ISSUED, str(GROWN))
        assert done.exit_code == 0, done.output
        assert "12 partitions before, 18 now" in done.output
        moved = regrown(
            [detainer("issued", number, week, version=2, jurisdiction="32031") for number in NUMBERS[::2]]
            + [detainer("issued", number, week) for number in NUMBERS[::3]]
            + [detainer("issued", 100 + number, week) for number in range(20)]
        )
        assert any(one.target in ADDED for one in moved)
        await kafka_log.append(bootstrap, moved)
        await kafka_log.counted(connection, bootstrap, partitions=EVENT_PARTITIONS + ADDED)
        assert await publisher.steps() == 1

        second = chosen.calendar.next(week)
        late = regrown([detainer("issued", 200 + number, week) for number in range(10)])
        await kafka_log.append(bootstrap, late)
        publisher.clock.now = second.ends_at + chosen.grace
        assert await publisher.step(), "the barrier of the next week includes all partitions"
        barrier = await connection.fetchval("SELECT barrier FROM week_close WHERE week = $1", second.first)
        assert len(barrier[DETAINER_ISSUED]) == GROWN
        await kafka_log.counted(connection, bootstrap, partitions=EVENT_PARTITIONS + ADDED)
        first = await newest(connection, week)
        assert await publisher.steps() == 1
        assert sorted(Counter((await owners(connection)).values()).values()) == [15, 16], (
            "added partitions are shared too"
        )
    assert await database_outcome.outcome(connection) == model.outcome(accepted([*log, *moved, *late]))
    assert first["totals"] == {"issued": 80, "declined": 60}
    assert {row["geoid"]: row["issued"] for row in first["jurisdictions"]} == {"32003": 50, "32031": 30}
    assert len(first["offsets"][DETAINER_ISSUED]) == GROWN
    again = await newest(connection, week)
    assert (again["revision"], again["totals"]["issued"]) == (2, 90)
    assert [one["causes"] for one in again["changes"]] == [{"late": 10}]
    for what in (f"{week}@1", f"{week}@2"):
        done = await commands.ddor(chosen, "verify", what)
        assert "figures digest" in done.output, done.output
        assert "✓ replay" in done.output, done.output


async def test_late_records_in_a_new_partition_cause_a_revision(
    chosen: Settings, connection: Connection, publisher: Publisher, week: ReportingWeek
) -> None:
    bootstrap = chosen.kafka_bootstrap
    async with running(aggregator.create(chosen)) as one:
        await until(lambda: is_ready(one), "the aggregator ready")
        partitions = [*await next_offsets(connection)]
        await kafka_log.append(bootstrap, both(NUMBERS, week))
        await kafka_log.counted(connection, bootstrap, partitions=partitions)
        publisher.clock.now = week.ends_at + chosen.grace
        assert await publisher.steps() == 2
        before = await newest(connection, week)

        done = await commands.ddor(chosen, "topics", "grow", DETAINER_DECLINED, str(GROWN))
        assert done.exit_code == 0, done.output
        late = [
            replace(one, partition=partition_of(one.key or b"", GROWN))
            for one in (detainer("declined", 300 + number, week) for number in NUMBERS)
        ]
        assert {str(one.partition) for one in late} - before["offsets"][DETAINER_DECLINED].keys()
        await kafka_log.append(bootstrap, late)
        added = [Partition(DETAINER_DECLINED, number) for number in range(12, GROWN)]
        await kafka_log.counted(connection, bootstrap, partitions=[*partitions, *added])
        publisher.clock.now = chosen.calendar.next(week).ends_at + chosen.grace
        assert await publisher.steps() == 2
    again = await newest(connection, week)
    assert (again["revision"], [one["causes"] for one in again["changes"]]) == (2, [{"late": len(NUMBERS)}])
    done = await commands.ddor(chosen, "verify", f"{week}@2")
    assert "✓ causes" in done.output, done.output


async def test_ingest_uses_added_partitions(
    chosen: Settings, week: ReportingWeek, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "_METADATA_MS", 200)
    grown = GROWN + 3
    values = [one.value or b"" for one in both(range(300, 360), week)]
    async with running(ingest.create(chosen)) as http:
        await until(lambda: is_ready(http), "ingest ready")
        before = await _send(http, values)
        done = await commands.ddor(chosen, "topics", "grow", DETAINER_ISSUED, str(grown))
        assert done.exit_code == 0, done.output

        async def used() -> bool:
            return any(partition[1] >= GROWN for partition in await _send(http, values))

        await until(used, "an added partition used")
    assert {one for one in before if one[0] == DETAINER_ISSUED} <= {(DETAINER_ISSUED, n) for n in range(GROWN)}


async def _send(http: httpx.AsyncClient, values: list[bytes]) -> set[tuple[str, int]]:
    headers = {"Content-Type": BATCH, "Authorization": f"Bearer {key_of(LAS_VEGAS)}"}
    response = await http.post("/v1/events", content=batch(values), headers=headers)
    receipts = json.loads(response.content)["receipts"]
    assert {one["status"] for one in receipts} == {"accepted"}
    return {(one["topic"], one["partition"]) for one in receipts}


@pytest.mark.parametrize(
    ("topic", "partitions", "message"),
    [
        ("report-ready", "2", "is not an event topic"),
        ("detainer-lifted", "2", "is not an event topic"),
        (DETAINER_ISSUED, "12", "give a higher number"),
        (DETAINER_ISSUED, "100000", "at most 1,000"),
    ],
)
async def test_invalid_requests_are_refused(chosen: Settings, topic: str, partitions: str, message: str) -> None:
    done = await commands.ddor(chosen, "topics", "grow", topic, partitions)
    assert (done.exit_code, message in done.output) == (2, True), done.output


async def test_added_partitions_are_not_drift(chosen: Settings) -> None:
    await commands.ddor(chosen, "topics", "grow", DETAINER_ISSUED, "24")
    done = await commands.ddor(chosen, "topics", "apply", "--check")
    assert done.exit_code == 0, done.output
