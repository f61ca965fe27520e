"""Lives of a publisher's process that may end at any of its calls."""

from __future__ import annotations

from typing import Any

from services.publisher.closer import Closer
from services.publisher.relay import Relay
from services.publisher.snapshot import SQL
from services.runtime import postgres
from tests.support.dying import DyingConnection, DyingProducer, Fate, KilledError
from tests.support.life import Life
from tests.support.publishing import client, rules, store


async def session(life: Life, at: int, *, dies_at: str | None = None) -> int | None:
    """Do all that is due, killed at a moment, or before a statement; how many moments there were, None if killed."""
    settings, clock = life.settings, life.publisher.clock
    assert settings.first_week is not None
    fate = Fate(at)
    real = await postgres.connect(settings, "ddor-test-dying")
    connection: Any = DyingConnection(real, fate, SQL[dies_at] if dies_at else None)
    relay = Relay(client(settings), connection)
    producer = relay._producer
    relay._producer = DyingProducer(producer, fate)  # type: ignore[assignment]  # the same, with a fate
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
