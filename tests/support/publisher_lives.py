"""Runs a publisher that is killed at a chosen call."""

from __future__ import annotations

from typing import Any

from services.publisher.leader import LeaderSession
from services.publisher.queries import SQL
from services.publisher.relay import Relay
from services.runtime import postgres
from tests.support.dying import DyingConnection, DyingProducer, Fate, KilledError
from tests.support.life import Life
from tests.support.publishing import ANY_SKEW, client, report_inputs, store


async def session(life: Life, at: int, *, dies_at: str | None = None) -> int | None:
    """Do all due steps, killed at a given call or before a statement. Returns the number of calls, None if killed."""
    settings, clock = life.settings, life.publisher.clock
    assert settings.first_week is not None
    fate = Fate(at)
    real = await postgres.connect(settings, "ddor-test-dying")
    connection: Any = DyingConnection(real, fate, SQL[dies_at] if dies_at else None)
    relay = Relay(client(settings), connection, lambda: 0.0)  # which never renews its producer
    producer = relay._producer
    relay._producer = DyingProducer(producer, fate)  # type: ignore[assignment]  # the same, with a fate
    leader = LeaderSession(
        settings, client(settings), settings.first_week, lambda: report_inputs(settings), clock, skew=ANY_SKEW
    )
    try:
        await relay.start(clock.now)
        dying = store(settings, connection)
        while await leader.step(dying, life.publisher.ends) or await relay.run(clock.now):
            pass
        await leader.step(dying, life.publisher.ends)
    except KilledError:
        return None
    finally:
        real.terminate()
        await producer.stop()
    return fate.calls
