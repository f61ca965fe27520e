"""A restatement that cannot be proven is reported and counted, and does not block others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from schemas.week import ReportingWeek
from services.publisher.queries import SQL
from services.runtime import metrics
from tests.conftest import MakeSettings
from tests.support.events import CLARK
from tests.support.life import WASHOE, Life, both, detainer, living, prove_chain
from tests.support.publishing import new_week


@pytest.fixture
def week() -> ReportingWeek:
    return new_week()


@pytest.fixture
async def life(settings: MakeSettings, week: ReportingWeek) -> AsyncIterator[Life]:
    async with living(settings(first_week=week.first, restatement_weeks=3), week) as life:
        yield life


async def test_a_restatement_that_cannot_be_proven_is_refused_and_blocks_no_other(
    life: Life, week: ReportingWeek
) -> None:
    second = life.settings.calendar.next(week)
    third = life.settings.calendar.next(second)
    await life.write(*both(range(4), week))
    await life.close(week)
    await life.write(*both(range(10, 14), second))
    await life.close(second)
    # A fact of the first week is moved in the ledger and the counters, without a record that explains it.
    moved = "SET jurisdiction = $2 WHERE week = $1 AND kind = 'issued'"
    await life.connection.execute(f"UPDATE ledger_entry {moved}", week.first, WASHOE)
    await life.connection.execute(f"UPDATE weekly_counter {moved}", week.first, WASHOE)
    await life.write(detainer("declined", 15, second), detainer("issued", 15, second))
    await life.close(third)
    assert (await life.revisions())[2:] == [(str(third), 1, "initial"), (str(second), 2, "scheduled")]
    assert metrics.REFUSED_RESTATEMENTS._value.get() == 1

    async def request(which: ReportingWeek) -> int:
        now = life.publisher.clock.now
        request_id: int = await life.connection.fetchval(SQL["request_restatement"], which.first, "Ada", "x", now)
        return request_id

    request_id, other = await request(week), await request(third)
    await life.publisher.steps()
    outcome = await life.connection.fetchval(SQL["restatement_outcome"], request_id)
    assert outcome == f"refused: {week}: causes do not sum to the difference of {CLARK} issued"
    assert await life.connection.fetchval(SQL["restatement_outcome"], other) == "no figure has changed"
    await life.connection.execute(f"UPDATE ledger_entry {moved}", week.first, CLARK)
    await life.connection.execute(f"UPDATE weekly_counter {moved}", week.first, CLARK)
    await request(week)
    await life.publisher.steps()
    assert metrics.REFUSED_RESTATEMENTS._value.get() == 0
    assert await prove_chain(life.connection) == 4
