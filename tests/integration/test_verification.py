"""After each first revision the publisher compares the week's range of the log with the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaConsumer

from schemas.acceptance import RULES_VERSION
from schemas.week import ReportingWeek
from services.publisher import app
from services.publisher.queries import SQL
from services.publisher.verification import Verifier
from services.runtime import kafka, metrics
from tests.conftest import MakeSettings
from tests.support.in_process import running
from tests.support.life import Life, both, detainer, living
from tests.support.positions import Connection
from tests.support.publishing import client, new_week
from tests.support.waiting import until


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(fresh_settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    """A publisher that the test steps. Its range was read with the current acceptance rules."""
    async with living(fresh_settings(first_week=week.first), week) as life:
        await life.connection.execute(
            "INSERT INTO acceptance_rules SELECT topic, partition, next_offset, $1 FROM partition_position",
            RULES_VERSION,
        )
        yield life


async def _verified(life: Life, most: int = 1_000) -> tuple[int, bool, str]:
    """Compare new revisions. Returns records, sample and outcome of the newest comparison."""
    verifier = Verifier(life.settings, client(life.settings), most)
    consumer = AIOKafkaConsumer(**client(life.settings), isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        assert await verifier.step(life.connection, consumer)
    finally:
        await kafka.stop(consumer)
    row = await life.connection.fetchrow("SELECT * FROM verification ORDER BY verified_at DESC LIMIT 1")
    assert row is not None
    return row["records"], row["is_sample"], row["outcome"]


async def test_a_correct_week_is_compared_record_by_record(life: Life, week: ReportingWeek) -> None:
    await life.write(
        *both(range(20), week), detainer("issued", 1, week), detainer("declined", 2, week, jurisdiction="99999")
    )
    await life.write(detainer("declined", 3, week, version=2, jurisdiction="32031"))
    await life.close(week)
    assert await _verified(life) == (43, False, "")
    following = life.settings.calendar.next(week)
    await life.write(*both(range(100, 103), following))
    await life.close(following)
    assert await _verified(life) == (6, False, ""), "only the range of this week"
    verifier = Verifier(life.settings, client(life.settings))
    assert not await verifier.step(life.connection, None), "each first revision is compared once"  # type: ignore[arg-type]


async def test_facts_in_another_week_than_in_the_log_are_named(life: Life, week: ReportingWeek) -> None:
    """As by an aggregator with other time zone rules. Counters and ledger agree, so the publisher's check passes."""
    await life.write(*both(range(5), week))
    moved = week.first - timedelta(days=7)
    for table in ("ledger_entry", "weekly_counter"):
        await life.connection.execute(f"UPDATE {table} SET week = $1 WHERE kind = 'issued'", moved)
    await life.close(week)
    records, _, outcome = await _verified(life)
    assert records == 10
    assert f"is counted in the week {moved}, but belongs to {week} (and 4 more)" in outcome
    assert outcome.startswith("detainer-issued/")
    assert await life.connection.fetchval(SQL["failed_verifications"]) == 1


async def test_a_record_that_never_reached_the_ledger_is_named(life: Life, week: ReportingWeek) -> None:
    (address, *_) = await life.write(*both([1], week))
    await life.connection.execute("DELETE FROM ledger_entry WHERE kind = 'issued'")
    await life.connection.execute("DELETE FROM weekly_counter WHERE kind = 'issued'")
    await life.connection.execute("UPDATE partition_position SET records = 0 WHERE topic = 'detainer-issued'")
    await life.close(week)
    assert await _verified(life) == (2, False, f"{'/'.join(map(str, address))}: is not counted")


async def test_a_long_range_is_sampled(life: Life, week: ReportingWeek) -> None:
    await life.write(*both(range(60), week))
    await life.close(week)
    records, is_sample, outcome = await _verified(life, most=20)
    assert (0 < records < 60, is_sample, outcome) == (True, True, "")


async def test_records_read_with_other_rules_are_left_to_a_release_with_those_rules(
    life: Life, week: ReportingWeek
) -> None:
    await life.connection.execute("UPDATE acceptance_rules SET version = version - 1")
    await life.write(*both(range(3), week))
    await life.close(week)
    assert await _verified(life) == (0, True, "")


async def test_records_skipped_by_an_operator_are_not_reported_as_missing(life: Life, week: ReportingWeek) -> None:
    (topic, number, offset), *_ = await life.write(detainer("issued", 1, week), detainer("declined", 1, week))
    await life.connection.execute("DELETE FROM ledger_entry WHERE kind = 'issued'")
    await life.connection.execute("DELETE FROM weekly_counter WHERE kind = 'issued'")
    await life.connection.execute("UPDATE partition_position SET records = 0 WHERE topic = 'detainer-issued'")
    await life.connection.execute(
        "INSERT INTO operator_action (by, action, subject, detail) VALUES ('Ada', 'resume', $1, $2)",
        f"{topic}/{number}", {"from": offset, "at": offset + 1},
    )  # fmt: skip
    await life.close(week)
    assert (await _verified(life))[2] == ""


async def test_a_running_publisher_verifies_by_itself_and_exports_failures(
    life: Life, week: ReportingWeek, connection: Connection
) -> None:
    await life.write(*both(range(3), week))
    for table in ("ledger_entry", "weekly_counter"):
        await life.connection.execute(f"UPDATE {table} SET week = week - 7 WHERE kind = 'declined'")
    await life.close(week)
    metrics.FAILED_VERIFICATIONS.set(0)
    async with running(app.create(life.settings, lambda: life.publisher.clock.now)):

        async def shown() -> bool:
            return bool(metrics.FAILED_VERIFICATIONS._value.get() == 1)

        await until(shown, "the metric to count the failed verification")
    assert await connection.fetchval("SELECT count(*) FROM verification WHERE outcome <> ''") == 1
