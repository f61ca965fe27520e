"""services.publisher.clock_skew: the difference to another host's clock, and the error above the limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.publisher import clock_skew
from services.publisher.clock_skew import LIMIT, ClockSkewError, ahead
from services.publisher.kafka_time import KafkaTimeUnavailableError, _leader_time
from services.runtime import metrics

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
_spans = st.timedeltas(timedelta(0), timedelta(days=9))


@given(true=st.timedeltas(timedelta(days=-9), timedelta(days=9)), there=_spans, back=_spans)
def test_the_round_trip_time_is_not_measured_as_a_difference(
    true: timedelta, there: timedelta, back: timedelta
) -> None:
    theirs = NOON + there - true
    found = ahead(NOON, theirs, NOON + there + back)
    assert abs(found) <= abs(true)
    assert abs(true - found) <= there + back
    assert (found > timedelta(0)) <= (true > timedelta(0))
    assert (found < timedelta(0)) <= (true < timedelta(0))


@pytest.mark.parametrize(
    ("skew", "expected"),
    [(LIMIT, None), (-LIMIT, None), (LIMIT * 1.1, "66 s ahead of Kafka's"), (-2 * LIMIT, "120 s behind Kafka's")],
)
async def test_more_than_a_minute_either_way_is_an_error_that_names_the_other_clock(
    skew: timedelta, expected: str | None
) -> None:
    async def theirs() -> datetime:
        return NOON - skew

    async def compared() -> None:
        await clock_skew.compare(lambda: NOON, {"Kafka": theirs})

    if expected is None:
        await compared()
    else:
        with pytest.raises(ClockSkewError, match=expected):
            await compared()
    assert metrics.CLOCK_SKEW.labels("kafka")._value.get() == skew.total_seconds()


async def test_a_clock_without_a_time_is_skipped_and_the_others_are_compared() -> None:
    async def silent() -> datetime:
        raise KafkaTimeUnavailableError("too old")

    async def late() -> datetime:
        return NOON - timedelta(days=1)

    with pytest.raises(ClockSkewError, match="PostgreSQL"):
        await clock_skew.compare(lambda: NOON, {"Kafka": silent, "PostgreSQL": late})


def _response(leader: int, error: int = 0) -> list[object]:
    stamp = round(NOON.timestamp() * 1000)
    voters: list[object] = [(1, 90, stamp - 300, stamp - 300, {}), (2, 99, stamp, stamp, {})]
    return [("__cluster_metadata", [(0, error, leader, 7, 99, voters, [], {})], {})]


def test_kafkas_time_is_that_of_the_quorums_leader() -> None:
    assert _leader_time(0, _response(leader=2)) == NOON


@pytest.mark.parametrize(
    ("code", "topics", "expected"),
    [
        (31, [], "Kafka denies this user Describe on the cluster: run `ddor topics apply --acls`"),
        (0, _response(2, error=3), "UnknownTopicOrPartitionError"),
        (0, _response(leader=-1), "names no leader"),
        (0, [], "names no leader"),
    ],
)
def test_a_response_without_a_time_is_an_error_with_the_reason(code: int, topics: list[object], expected: str) -> None:
    with pytest.raises(KafkaTimeUnavailableError, match=expected):
        _leader_time(code, topics)
