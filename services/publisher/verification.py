"""Verifies each first revision in the background: reads its range of the log again and compares it with the database.

The range starts at the vector of the previous report. Of a very long range, only the newest records of each partition
are compared. Differences are stored in the table `verification` and raise an alert. They do not delay or withdraw a
report; `ddor verify` reproduces the whole report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from schemas.acceptance import RULES_VERSION
from schemas.log import Partition, Vector
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED
from schemas.week import WeekIndex
from services.publisher import ledger_comparison
from services.publisher.queries import SQL
from services.runtime import calendar, kafka, log_range, metrics, postgres
from services.runtime.kafka import topic_partition
from services.runtime.kafka_access import AccessCheck, check_on
from services.runtime.kafka_rights import VERIFY
from services.runtime.log_range import PartitionRange
from services.runtime.logs import get
from services.runtime.settings import Settings

log = get(__name__)

MAX_RECORDS = 200_000
"""The maximum number of compared records. Of a longer range, the newest of each partition are compared."""
_AT_ONCE = 500
"""Records in one batch: few enough not to slow down the publisher's readers."""
_EVERY = 5.0
_TOPICS = (DETAINER_ISSUED, DETAINER_DECLINED)


class Verifier:
    """Compares first revisions with the log, one at a time."""

    def __init__(self, settings: Settings, client: Mapping[str, Any], max_records: int = MAX_RECORDS) -> None:
        self._settings = settings
        self._client = client
        self._max_records = max_records
        self._weeks = WeekIndex(settings.calendar)

    async def session(self, up: Callable[[], None]) -> None:
        """Compare each new first revision until an error ends the session. An advisory lock selects one publisher."""
        async with AsyncExitStack() as stack:
            connection = await postgres.connect(self._settings, "ddor-publisher-verification")
            stack.push_async_callback(connection.close, timeout=2)
            await calendar.check(connection, self._settings.calendar)
            consumer = AIOKafkaConsumer(**self._client, isolation_level="read_committed", enable_auto_commit=False)
            stack.push_async_callback(kafka.stop, consumer)
            await kafka.start(consumer.start)
            await check_on(consumer._client, VERIFY)
            access = AccessCheck(VERIFY)
            up()
            while True:
                await access.repeat(consumer._client)
                if not (await connection.fetchval(SQL["try_verify"]) and await self.step(connection, consumer)):
                    metrics.FAILED_VERIFICATIONS.set(await connection.fetchval(SQL["failed_verifications"]))
                    await asyncio.sleep(_EVERY)

    async def step(self, connection: asyncpg.Connection[Any], consumer: AIOKafkaConsumer) -> bool:
        """Compare the earliest first revision that was not compared yet. False if there is none."""
        row = await connection.fetchrow(SQL["unverified"])
        if row is None:
            return False
        ends = Vector.from_json(row["ends"])
        begins, is_sample = start_offsets(Vector.from_json(row["begins"] or {}), ends, self._max_records)
        comparable = await self._comparable(connection, begins, ends)
        is_sample |= comparable.keys() != begins.keys()
        begins = {one: start for one, start in comparable.items() if start < ends[one]}
        differ = await _missing(consumer, begins, ends) if begins else []
        records = 0
        if begins and not differ:
            starts = {topic_partition(one): start for one, start in begins.items()}
            consumer.assign(list(starts))
            for partition, start in starts.items():
                consumer.seek(partition, start)
                consumer.pause(partition)
            stops = {topic_partition(one): ends[one] for one in begins}
            async for parts in log_range.read(consumer, starts, stops, _AT_ONCE):
                for one in parts:
                    differ += await self._compare(connection, one)
                    records += len(one.records)
        outcome = "" if not differ else differ[0] + (f" (and {len(differ) - 1:,} more)" if len(differ) > 1 else "")
        await connection.execute(SQL["add_verification"], row["week"], records, is_sample, outcome)
        write = log.error if outcome else log.info
        write(
            "verification-failed" if outcome else "verified",
            week=str(row["week"]), records=records, sample=is_sample, detail=outcome or None,
        )  # fmt: skip
        return True

    async def _comparable(
        self, connection: asyncpg.Connection[Any], begins: Mapping[Partition, int], ends: Vector
    ) -> dict[Partition, int]:
        """The start offsets of the partitions that were read with this program's acceptance rules.

        A partition that was read with other rules is omitted; `ddor verify` of a release with those rules compares it.
        """
        rows = await connection.fetch(
            SQL["read_by_rules"],
            [one.topic for one in begins], [one.number for one in begins],
            list(begins.values()), [ends[one] for one in begins], RULES_VERSION,
        )  # fmt: skip
        first = {Partition(row["topic"], row["partition"]): row["first"] for row in rows if not row["by_others"]}
        return {one: max(start, first[one]) for one, start in begins.items() if one in first}

    async def _compare(self, connection: asyncpg.Connection[Any], one: PartitionRange) -> list[str]:
        partition = Partition(*one.partition)
        skipped = [
            range(row["begins"], row["ends"])
            for row in await connection.fetch(SQL["passed_over"])
            if row["subject"] == str(partition)
        ]
        records = [record for record in one.records if not any(record.offset in offsets for offsets in skipped)]
        decoded = ledger_comparison.decode(records, partition, self._weeks)
        rows = await connection.fetch(SQL["rejected_between"], partition.topic, partition.number, one.start, one.end)
        rejected = {row["kafka_offset"]: row["reason"] for row in rows}
        wanted = [found.identity for found in decoded if found.fact is not None]
        facts = await connection.fetch(SQL["facts_of"], *([each[at] for each in wanted] for at in range(3)))
        return ledger_comparison.differences(decoded, rejected, ledger_comparison.versions(facts))


def start_offsets(begins: Vector, ends: Vector, max_records: int) -> tuple[dict[Partition, int], bool]:
    """The start offset of each partition with records in the range, and whether the range is cut to a sample.

    A sample has at most `max_records` records in total, but at least one of each partition.
    """
    whole = {one: max(begins.offset_of(one), 0) for one in ends if one.topic in _TOPICS}
    starts = {one: start for one, start in whole.items() if start < ends[one]}
    is_sample = sum(ends[one] - start for one, start in starts.items()) > max_records
    if is_sample:
        share = max(1, max_records // len(starts))
        starts = {one: max(start, ends[one] - share) for one, start in starts.items()}
    return starts, is_sample


async def _missing(consumer: AIOKafkaConsumer, begins: Mapping[Partition, int], ends: Vector) -> list[str]:
    """The partitions whose log no longer contains the range."""
    asked = [topic_partition(one) for one in begins]
    first, last = await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)
    return [
        f"{one}: the log contains [{first[tp]}, {last[tp]}), the report needs [{start}, {ends[one]})"
        for (one, start), tp in zip(begins.items(), asked, strict=True)
        if first[tp] > start or last[tp] < ends[one]
    ]
