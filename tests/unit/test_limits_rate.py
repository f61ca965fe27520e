"""services.ingest.limits: the rate limit of each agency."""

from __future__ import annotations

import pytest

from services.ingest.limits import RateLimiter
from services.runtime.agencies import Agency
from tests.unit.sample_reports import listed

(ONE, OTHER) = (
    agency.model_copy(update={"events_per_second": 10})
    for agency in listed(("one", "issued", "32*"), ("other", "issued", "36*")).listed
)
(FREE,) = listed(("free", "issued", "32*")).listed


class Time:
    """A monotonic clock."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


def test_an_agency_without_a_limit_never_waits(clock: Time) -> None:
    rates = RateLimiter(clock)
    rates.took(FREE, 10**9)
    assert rates.wait(FREE) == 0


def test_an_agency_may_send_ten_seconds_worth_of_events_at_once(clock: Time) -> None:
    rates = RateLimiter(clock)
    assert rates.wait(ONE) == 0
    rates.took(ONE, 99)
    assert rates.wait(ONE) == 0
    rates.took(ONE, 1)
    assert rates.wait(ONE) == 1
    assert rates.wait(OTHER) == 0


@pytest.mark.parametrize("events", [3, 60, 99, 1_000, 10**6])
def test_requests_of_any_size_are_counted(clock: Time, events: int) -> None:
    """A request may exceed the rest of the limit. Refusing it would not limit large batches."""
    rates = RateLimiter(clock)
    taken = 0
    while rates.wait(ONE) == 0:
        rates.took(ONE, events)
        taken += events
        assert taken < 100 + events
    assert taken >= 100


def test_it_may_send_again_after_the_wait(clock: Time) -> None:
    rates = RateLimiter(clock)
    rates.took(ONE, 1_000)
    assert rates.wait(ONE) == 90, "1,000 events take 100 seconds, minus the burst of ten"
    clock.now += 89
    assert rates.wait(ONE) == 1
    clock.now += 1.1
    assert rates.wait(ONE) == 0


@pytest.mark.parametrize("events", [1, 7, 100, 500])
def test_over_a_long_time_no_more_than_the_limit_passes(clock: Time, events: int) -> None:
    rates = RateLimiter(clock)
    taken = 0
    for _ in range(10_000):
        if rates.wait(ONE) == 0:
            rates.took(ONE, events)
            taken += events
        clock.now += 0.1
    assert 9_500 <= taken <= 10_000 + 100 + events, "10 a second for 1,000 seconds, a burst, and one request"


def test_nothing_taken_counts_nothing(clock: Time) -> None:
    rates = RateLimiter(clock)
    for _ in range(1_000):
        rates.took(ONE, 0)
    assert rates.wait(ONE) == 0


def test_a_new_limit_applies_at_once(clock: Time) -> None:
    """The agencies file is read again while ingest runs."""
    rates = RateLimiter(clock)
    rates.took(ONE, 100)
    assert rates.wait(ONE)
    faster: Agency = ONE.model_copy(update={"events_per_second": 1_000})
    assert rates.wait(faster) == 0


def test_room_is_the_number_of_events_allowed_now(clock: Time) -> None:
    rates = RateLimiter(clock)
    assert rates.room(FREE, 1_000) == 1_000
    assert rates.room(ONE, 1_000) == 100
    assert rates.room(ONE, 30) == 30
    rates.took(ONE, 99)
    assert rates.room(ONE, 1_000) == 1
    rates.took(ONE, 1)
    assert rates.room(ONE, 1_000) == 0
    clock.now += 0.5
    assert rates.room(ONE, 1_000) == 5
    rates.took(ONE, 1_000)
    clock.now += 99
    assert rates.room(ONE, 1_000) == 0, "the debt of a batch is paid first"


@pytest.mark.parametrize("every", [0.05, 0.5, 7.0, 60.0])
def test_a_stream_is_limited_to_its_rate(clock: Time, every: float) -> None:
    """Independent of how often it is checked."""
    rates = RateLimiter(clock)
    taken = 0
    for _ in range(int(1_000 / every)):
        while room := rates.room(ONE, 1_000):
            rates.took(ONE, room)
            taken += room
        clock.now += every
    most = 10_000 + 100
    assert taken <= most
    assert taken >= most * (0.98 if every <= 10 else 0.15)
