"""A publisher on a host with a wrong clock closes, publishes and finalizes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.parts import KafkaPart
from services.publisher import app as publisher
from services.publisher.clock_skew import LIMIT, ClockSkewError
from services.publisher.leader import LeaderSession
from services.runtime import metrics
from services.runtime.clock import Clock
from services.runtime.settings import Settings
from tests.conftest import MakeSettings
from tests.support.batches import CALENDAR
from tests.support.in_process import is_ready, running
from tests.support.positions import Connection
from tests.support.publishing import ANY_SKEW, client, new_week, publishing, report_inputs
from tests.support.waiting import until

_WEEK = CALENDAR.week_of(datetime.now(UTC))
_DUE = _WEEK.ends_at + timedelta(hours=24)


def _off_by(skew: timedelta) -> Clock:
    return lambda: datetime.now(UTC) + skew


@pytest.fixture
def chosen(store_settings: MakeSettings, own_kafka: KafkaPart) -> Settings:
    return store_settings(kafka_bootstrap=own_kafka.bootstrap, kafka_replication=1, first_week=_WEEK.first)


async def test_a_clock_days_ahead_publishes_no_week_before_its_end(chosen: Settings, connection: Connection) -> None:
    ahead = _DUE - datetime.now(UTC) + timedelta(hours=1)
    async with running(publisher.create(chosen, _off_by(ahead))) as http:

        async def skew_reported() -> bool:
            assert await connection.fetchval("SELECT count(*) FROM report") == 0, "no report before the end of the week"
            return "ClockSkewError" in (await http.get("/readyz")).text

        await until(skew_reported, "the publisher to report the skew")
        detail = (await http.get("/readyz")).json()["detail"]
        assert await connection.fetchval("SELECT count(*) FROM publisher_leader") == 0, "another may lead"
    seconds = ahead.total_seconds()
    assert f"this host's clock is {seconds:,.0f} s ahead of PostgreSQL's: nothing is published" in detail
    assert "runbook clock-skew" in detail
    assert metrics.CLOCK_SKEW.labels("postgresql")._value.get() == pytest.approx(seconds, abs=30)
    assert await connection.fetchval("SELECT count(*) FROM week_close") == 0


async def test_a_publisher_whose_clock_is_right_within_a_minute_leads(chosen: Settings) -> None:
    async with running(publisher.create(chosen, _off_by(LIMIT / 2))) as http:
        await until(lambda: is_ready(http), "the publisher ready")


@pytest.mark.real_kafka("does not report its time")
@pytest.mark.parametrize("state", ["open", "draining", "published"])
async def test_a_clock_that_differs_from_kafkas_stops_each_step_of_a_close(
    chosen: Settings, connection: Connection, state: str
) -> None:
    """PostgreSQL may run on the same host with the same wrong clock, so a step also checks Kafka's."""
    week = new_week()
    chosen = chosen.model_copy(update={"first_week": week.first})
    async with publishing(chosen, week.ends_at + timedelta(hours=24)) as right:
        if state != "open":
            assert await right.step()
        if state == "published":
            assert await right.steps()
            await connection.execute("UPDATE outbox SET sent_at = now()")
            await right.step()
            right.clock.now += chosen.provisional + timedelta(hours=1)  # summer time may end in between
        before = await connection.fetch("SELECT * FROM week_transition ORDER BY id")
        wrong = LeaderSession(chosen, client(chosen), week.first, lambda: report_inputs(chosen), right.clock)
        if state == "published":  # no further step is due
            right.clock.now += timedelta(seconds=1)
            await connection.execute("UPDATE week_close SET state = 'published'")
            wrong._first_week = week.first + timedelta(days=7 * 2_000)
        with pytest.raises(ClockSkewError, match="behind Kafka's"):
            await wrong.step(right.store, right.ends)
        assert await connection.fetch("SELECT * FROM week_transition ORDER BY id") == before
        assert wrong._skew < ANY_SKEW
