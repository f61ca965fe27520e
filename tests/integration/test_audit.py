"""A report proves the records since the last one; an audit proves all, and stops reports if it finds a difference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.week import ReportingWeek
from services.publisher import audit
from services.publisher.audit import Auditor
from services.publisher.queries import SQL
from services.runtime import metrics
from services.runtime.errors import InvariantError
from tests.conftest import MakeSettings
from tests.support.commands import ddor
from tests.support.life import Life, both, living
from tests.support.publishing import new_week

_NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
_TAKE = """WITH taken AS (DELETE FROM ledger_entry WHERE kind = 'issued' AND week = $1 AND detainer_id IN (
               SELECT detainer_id FROM ledger_entry WHERE kind = 'issued' AND week = $1 ORDER BY kafka_offset LIMIT 1)
           RETURNING week, jurisdiction)
           UPDATE weekly_counter c SET n = n - 1 FROM taken t
           WHERE (c.week, c.jurisdiction, c.kind) = (t.week, t.jurisdiction, 'issued')"""
"""Deletes a fact and counts one less, so that only the number of records shows it."""


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(fresh_settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    async with living(fresh_settings(first_week=week.first), week) as life:
        yield life


async def _audit(life: Life) -> str:
    return (await audit.run(life.connection, "Ada", lambda: _NOON)).outcome


async def test_a_close_proves_the_records_since_the_last_report_and_an_audit_proves_all(
    life: Life, week: ReportingWeek
) -> None:
    second = life.settings.calendar.next(week)
    third = life.settings.calendar.next(second)
    await life.write(*both(range(20), week))
    await life.close(week)
    await life.write(*both(range(20, 40), second))
    await life.connection.execute("CREATE TABLE saved AS TABLE ledger_entry")
    await life.connection.execute(_TAKE, week.first)
    queries: list[str] = []
    life.publisher.store._connection.add_query_logger(lambda record: queries.append(record.query))
    await life.close(second)
    assert await life.state(second) == "closed", "the missing fact is below the proven positions"
    assert (queries.count(SQL["unaccounted_since"]), queries.count(SQL["unaccounted"])) == (1, 0)
    outcome = await _audit(life)
    assert outcome.startswith("detainer-issued/")
    assert "records, " in outcome
    await life.write(*both(range(40, 45), third))
    with pytest.raises(InvariantError, match="the audit of 2026-11-02 12:00 UTC found: detainer-issued/"):
        await life.close(third)
    await life.connection.execute("INSERT INTO ledger_entry SELECT * FROM saved ON CONFLICT DO NOTHING")
    await life.connection.execute("UPDATE weekly_counter SET n = n + 1 WHERE week = $1 AND kind = 'issued'", week.first)
    assert await _audit(life) == ""
    life.publisher.clock.now += timedelta(minutes=2)
    await life.publisher.steps()
    assert await life.state(third) == "closed"
    assert (await life.report(third))["scope"]["audited_at"] == "2026-11-02T12:00:00Z"
    assert (await life.report(week))["scope"]["audited_at"] is None


@pytest.mark.parametrize("table", ["ledger", "history", "rejected", "counter"])
async def test_a_close_finds_an_error_since_the_last_report(life: Life, week: ReportingWeek, table: str) -> None:
    second = life.settings.calendar.next(week)
    await life.write(*both(range(10), week))
    await life.close(week)
    await life.write(*both(range(5, 15), second, version=2), *both(range(20, 25), second))
    change: dict[str, tuple[Any, ...]] = {
        "ledger": (_TAKE, second.first),
        "history": ("DELETE FROM history WHERE kafka_offset = (SELECT max(kafka_offset) FROM history)",),
        "rejected": ("UPDATE partition_position SET rejected = rejected + 1, duplicates = duplicates - 1",),
        "counter": ("UPDATE weekly_counter SET n = n + 1 WHERE week = $1", second.first),
    }
    await life.write(*both(range(20, 25), second))
    if table == "history":  # the facts of the first week that moved to the history are below the proven positions
        await life.write(*both(range(20, 25), second, version=3))
    await life.connection.execute(*change[table])
    with pytest.raises(InvariantError, match=r"not accounted for|counters differ"):
        await life.close(second)
    assert await life.state(second) == "draining"


async def test_all_records_are_counted_again_where_the_last_proof_does_not_fit(life: Life, week: ReportingWeek) -> None:
    """As after a log was replaced: the offsets begin again."""
    second = life.settings.calendar.next(week)
    await life.write(*both(range(10), week))
    await life.close(week)
    await life.write(*both(range(10, 20), second))
    await life.connection.execute("UPDATE proven_position SET next_offset = next_offset + 1000")
    await life.close(second)
    assert await life.state(second) == "closed"
    proven = await life.connection.fetch("SELECT topic, partition, next_offset FROM proven_position ORDER BY 1, 2")
    positions = await life.connection.fetch(
        "SELECT topic, partition, next_offset FROM partition_position ORDER BY 1, 2"
    )
    assert proven == positions


async def test_a_partition_that_was_added_later_is_proven_from_its_start(life: Life, week: ReportingWeek) -> None:
    second = life.settings.calendar.next(week)
    await life.write(*both(range(20), week))
    await life.close(week)
    await life.connection.execute("DELETE FROM proven_position WHERE partition = 1")
    await life.write(*both(range(20, 40), second))
    await life.connection.execute(
        "UPDATE partition_position SET records = records + 1 WHERE partition = 1 AND topic = 'detainer-issued'"
    )
    with pytest.raises(InvariantError, match=r"the first: detainer-issued/1: \d+ records"):
        await life.close(second)


async def test_the_publisher_audits_once_a_day(life: Life, week: ReportingWeek) -> None:
    now = [_NOON]
    auditor = Auditor(life.settings, lambda: now[0])

    async def audits() -> int:
        await auditor.step(life.connection)
        count: int = await life.connection.fetchval("SELECT count(*) FROM audit WHERE by = 'publisher'")
        return count

    await life.write(*both(range(5), week))
    assert await audits() == 1
    now[0] += audit.INTERVAL - timedelta(seconds=1)
    assert await audits() == 1
    assert metrics.AUDIT_AT._value.get() == _NOON.timestamp()
    assert metrics.AUDIT_FAILED._value.get() == 0
    await life.connection.execute("UPDATE weekly_counter SET n = n + 1")
    now[0] += timedelta(seconds=1)
    assert await audits() == 2
    assert metrics.AUDIT_FAILED._value.get() == 1
    assert metrics.AUDIT_AT._value.get() == now[0].timestamp()


async def test_the_command_exits_with_1_after_a_difference(life: Life, week: ReportingWeek) -> None:
    await life.write(*both(range(5), week))
    done = await ddor(life.settings, "audit", "--by", "Ada")
    assert (done.exit_code, done.out) == (
        0, "10 records are accounted for, and the counters of all weeks equal the ledger\n"
    )  # fmt: skip
    await life.connection.execute("UPDATE weekly_counter SET n = n + 1 WHERE kind = 'declined'")
    failed = await ddor(life.settings, "audit")
    assert failed.exit_code == 1
    assert f"{week} " in failed.err
    assert "declined: counted 6, in the ledger 5" in failed.err
    assert "Traceback" not in failed.err
