"""Invariant 5: killed at any call, the publisher goes on where it was; one content and one message a revision."""

from __future__ import annotations

import os
from datetime import date, timedelta

from deploy.local.parts import KafkaPart
from services.publisher.closer import Closer
from services.publisher.relay import Relay
from services.publisher.snapshot import SQL
from services.runtime import postgres
from tests.conftest import MakeSettings
from tests.support.dying import DyingConnection, DyingProducer, Fate, KilledError
from tests.support.life import Life, both, living, prove_chain, told
from tests.support.publishing import client, new_week, rules, store

_STRIDE = int(os.environ.get("CRASH_STRIDE", "7"))
"""1 tries every moment there is (it takes three minutes)."""


async def _session(life: Life, at: int) -> int | None:
    """One life of a publisher's process, killed at a moment; how many it had, or None if it was killed."""
    settings, clock = life.settings, life.publisher.clock
    assert settings.first_week is not None
    fate = Fate(at)
    real = await postgres.connect(settings, "ddor-test-dying")
    connection = DyingConnection(real, fate)
    relay = Relay(client(settings), connection)  # type: ignore[arg-type]  # the same, with a fate
    producer = relay._producer
    relay._producer = DyingProducer(producer, fate)
    closer = Closer(settings, client(settings), settings.first_week, lambda: rules(settings), clock)
    try:
        await relay.start(clock.now)
        dying = store(settings, connection)
        while await closer.step(dying, life.publisher.ends) or await relay.run(clock.now):
            pass
        await closer.step(dying, life.publisher.ends)
    except KilledError:
        return None
    finally:
        real.terminate()
        await producer.stop()
    return fate.calls


async def test_invariant_5_killed_at_any_moment(settings: MakeSettings, kafka: KafkaPart) -> None:
    """Week after week, each killed a few calls later than the last, until one lives to its end."""
    first = new_week()
    async with living(settings(first_week=first.first, restatement_weeks=1), first) as life:
        expected: dict[str, dict[str, int]] = {}
        week, number, moment, lived = first, 0, 0, None
        while lived is None:
            numbers = range(number, number + 3)
            before = life.settings.calendar.week(week.first - timedelta(days=7))
            late = [told("declined", number + 3, before)] if expected else []
            await life.tell(*both(numbers, week), *late)
            expected[str(week)] = {"issued": 3, "declined": 3}
            if late:
                expected[str(before)]["declined"] += 1
            life.due(week)
            lived = await _session(life, moment)
            again = await _session(life, 10_000)
            assert again is not None
            number, moment, week = number + 4, moment + _STRIDE, life.settings.calendar.next(week)
        assert moment > 90, "there were that many moments to be killed at"
        rows = await life.connection.fetch(
            "SELECT DISTINCT ON (week) week, figures -> 'totals' AS totals FROM report ORDER BY week, revision DESC"
        )
        assert {str(row["week"]): row["totals"] for row in rows} == expected
        assert await prove_chain(life.connection) == 2 * len(expected) - 1
        announced = [one for one in await life.announced() if not one.final]
        digests = [row["digest"] for row in await life.connection.fetch("SELECT digest FROM report ORDER BY sequence")]
        assert [one.digest for one in announced] == digests, "each once, in the order of writing"
        finals = [one.week for one in await life.announced() if one.final]
        assert len(finals) == len(set(finals)) == len(expected) - 2
        for one in expected:
            states = await life.moves(life.settings.calendar.week(date.fromisoformat(one)))
            assert states[:3] == ["draining", "closed", "published"]
        assert await life.connection.fetchval(SQL["outbox_oldest"]) is None
