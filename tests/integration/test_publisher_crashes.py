"""Invariant 5: killed at any call, the publisher continues; each revision has one content and one message."""

from __future__ import annotations

import os
from datetime import date, timedelta

from services.publisher.queries import SQL
from tests.conftest import MakeSettings
from tests.support.batches import CALENDAR
from tests.support.life import both, detainer, living, prove_chain
from tests.support.publisher_lives import session

_STRIDE = int(os.environ.get("CRASH_STRIDE", "7"))
"""1 tries every moment there is (it takes three minutes)."""


async def test_invariant_5_killed_at_any_moment(settings: MakeSettings) -> None:
    """Each week's publisher is killed a few calls later than the last, until one completes."""
    first = CALENDAR.week(date(1980, 1, 5))  # consecutive weeks that no other test uses
    async with living(settings(first_week=first.first, restatement_weeks=1), first) as life:
        expected: dict[str, dict[str, int]] = {}
        week, number, moment, lived = first, 0, 0, None
        while lived is None:
            numbers = range(number, number + 3)
            before = life.settings.calendar.week(week.first - timedelta(days=7))
            late = [detainer("declined", number + 3, before)] if expected else []
            await life.write(*both(numbers, week), *late)
            expected[str(week)] = {"issued": 3, "declined": 3}
            if late:
                expected[str(before)]["declined"] += 1
            life.due(week)
            lived = await session(life, moment)
            again = await session(life, 10_000)
            assert again is not None
            number, moment, week = number + 4, moment + _STRIDE, life.settings.calendar.next(week)
        assert moment > 90, "killed at more than 90 different calls"
        rows = await life.connection.fetch(
            "SELECT DISTINCT ON (week) week, figures -> 'totals' AS totals FROM report ORDER BY week, revision DESC"
        )
        assert {str(row["week"]): row["totals"] for row in rows} == expected
        assert await prove_chain(life.connection) == 2 * len(expected) - 1
        announced = [one for one in await life.announced() if not one.final]
        digests = [row["digest"] for row in await life.connection.fetch("SELECT digest FROM report ORDER BY sequence")]
        assert [one.digest for one in announced] == digests, "each revision once, in the order of writing"
        finals = [one.week for one in await life.announced() if one.final]
        assert len(finals) == len(set(finals)) == len(expected) - 2
        for one in expected:
            states = await life.moves(life.settings.calendar.week(date.fromisoformat(one)))
            assert states[:3] == ["draining", "closed", "published"]
        assert await life.connection.fetchval(SQL["outbox_oldest"]) is None
