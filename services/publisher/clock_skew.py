"""Compares this host's clock with those of PostgreSQL and Kafka. A wrong clock could publish a week before its end.

A publication cannot be undone, so steps that depend on the time require that the three clocks agree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from services.publisher.kafka_time import KafkaTimeUnavailableError
from services.runtime import metrics
from services.runtime.clock import Clock
from services.runtime.errors import CallerError
from services.runtime.kafka_rights import MissingRightError
from services.runtime.logs import get

log = get(__name__)

LIMIT = timedelta(minutes=1)
"""The permitted difference of two clocks: far less than any grace period, far more than NTP permits."""

ReadClock = Callable[[], Awaitable[datetime]]
"""Returns the time of another host."""


class ClockSkewError(CallerError):
    """This host's clock differs from another one, so nothing is published. See the runbook clock-skew."""


def ahead(before: datetime, other: datetime, after: datetime) -> timedelta:
    """The minimum by which this host's clock is ahead of another one. Negative: it is behind.

    `before` and `after` are this host's times of the request and the response, so the round trip does not count as a
    difference.
    """
    return before - other if other < before else min(after - other, timedelta(0))


async def compare(clock: Clock, others: Mapping[str, ReadClock], limit: timedelta = LIMIT) -> None:
    """ClockSkewError if this host's clock differs from one of `others` (by name) by more than `limit`."""
    for name, read_clock in others.items():
        before = clock()
        try:
            other = await read_clock()
        except KafkaTimeUnavailableError as error:
            write = log.warning if isinstance(error.__cause__, MissingRightError) else log.debug
            write("clock-not-compared", other=name, why=str(error))
            continue
        skew = ahead(before, other, clock())
        metrics.CLOCK_SKEW.labels(name.lower()).set(skew.total_seconds())
        if abs(skew) > limit:
            side = "ahead of" if skew > timedelta(0) else "behind"
            raise ClockSkewError(
                f"this host's clock is {abs(skew).total_seconds():,.0f} s {side} {name}'s: nothing is published until"
                f" they agree to within {limit.total_seconds():.0f} s. Correct the wrong clock (runbook clock-skew)"
            )
