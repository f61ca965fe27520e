"""services.publisher.desk.waiting: what a week and a restatement wait for."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.log import Vector
from services.publisher.desk.log_ends import LogEnds
from services.publisher.desk.waiting import open_transactions, restatement, with_waits
from tests.support.sessions import DECLINED_0, ISSUED_0, ISSUED_1
from tests.unit.sample_desk import week

BARRIER = {"detainer-issued": {"0": 311, "1": 9}, "detainer-declined": {"0": 2}}
REACHED = Vector.from_json(BARRIER)
BEHIND = Vector({ISSUED_0: 11, ISSUED_1: 9, DECLINED_0: 0})
BLOCKED = {ISSUED_0: 307, DECLINED_0: 2}
SENTENCE = "an open transaction blocks detainer-issued/0 since offset 307"


def waits(state: str, positions: Vector = REACHED, ends: LogEnds | None = None, **more: Any) -> list[str]:
    found: list[str] = with_waits(week(state, barrier=BARRIER, **more), positions, ends, ())["waits_for"]
    return found


def test_a_draining_week_waits_for_the_records_below_its_barrier() -> None:
    row = with_waits(week("draining", barrier=BARRIER), BEHIND, None, ())
    assert row["waits_for"] == ["302 records to count before the barrier, in detainer-declined/0, detainer-issued/0"]
    assert row["lacking"] == [
        {"partition": "detainer-declined/0", "position": 0, "barrier": 2, "records": 2},
        {"partition": "detainer-issued/0", "position": 11, "barrier": 311, "records": 300},
    ]
    assert "barrier" not in row


def test_a_halted_partition_does_not_delay_a_draining_week() -> None:
    row = with_waits(week("draining", barrier=BARRIER), BEHIND, None, {ISSUED_0})
    assert row["waits_for"] == ["2 records to count before the barrier, in detainer-declined/0"]


def test_more_than_three_partitions_are_counted_and_not_all_named() -> None:
    barrier = {"detainer-issued": {str(number): 1 for number in range(5)}}
    row = with_waits(week("draining", barrier=barrier), Vector(), None, ())
    assert row["waits_for"][0].endswith("in detainer-issued/0, detainer-issued/1, detainer-issued/2 and 2 more")


def test_a_draining_week_names_the_transactions_below_its_barrier_first() -> None:
    sentences = waits("draining", BEHIND, LogEnds(REACHED, BLOCKED))
    assert sentences[0] == SENTENCE
    assert len(sentences) == 2, "the transaction at the barrier does not delay it"


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        ("requested", {}, ["the publisher to set the barrier"]),
        ("draining", {}, ["the publisher to prove the counts and write the report"]),
        ("held", {}, ["an operator, or the deadline"]),
        ("held", {"released_by": "Ada"}, ["the publisher to write the report; released by Ada"]),
        ("halted", {}, ["the log of a partition, which ends before the barrier"]),
        ("closed", {}, ["its report to be sent"]),
        ("published", {}, []),
        ("final", {}, []),
    ],
)
def test_each_state_waits_for_one_thing(state: str, more: dict[str, Any], expected: list[str]) -> None:
    assert waits(state, **more) == expected


def test_a_week_without_a_barrier_or_after_it_waits_for_no_transaction() -> None:
    ends = LogEnds(REACHED, BLOCKED)
    requested = with_waits(week("requested", barrier=None), REACHED, ends, ())
    assert requested["waits_for"] == ["the publisher to set the barrier"]
    assert waits("published", ends=ends) == []


def test_a_halted_week_names_the_partitions_whose_log_is_too_short() -> None:
    short = LogEnds(Vector({**REACHED, ISSUED_0: 5}), {})
    assert waits("halted", ends=short) == ["the log of detainer-issued/0, which ends before the barrier"]


def test_a_restatement_waits_for_the_vector_of_the_newest_revision() -> None:
    request = {"week": "2017-01-28", "by": "Ada", "reason": "x", "requested_at": "now", "offsets": BARRIER}
    below = restatement(request, BEHIND)
    assert below["waits_for"].startswith("302 records to count up to the newest revision, in detainer-declined/0")
    assert restatement(request, REACHED)["waits_for"] == "the publisher to write the revision"
    assert restatement(request | {"offsets": None}, BEHIND)["waits_for"] == "the publisher to write the revision"
    assert "offsets" not in below


def test_each_blocked_partition_gives_a_sentence() -> None:
    partitions = [
        {"topic": "detainer-issued", "partition": 0, "open_transaction_since": 0},
        {"topic": "detainer-issued", "partition": 1, "open_transaction_since": None},
    ]
    assert open_transactions(partitions) == ["an open transaction blocks detainer-issued/0 since offset 0"]
