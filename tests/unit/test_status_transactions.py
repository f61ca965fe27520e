"""services.cli.status_transactions: `ddor status` names blocked partitions and the weeks that wait for them."""

from __future__ import annotations

from services.cli.status_transactions import open_transactions, with_blockers
from tests.support.sessions import DECLINED_0, ISSUED_0

BLOCKED = {ISSUED_0: 307, DECLINED_0: 2}
WEEK = {"week": "2017-01-28", "state": "draining"}
BARRIER = {"detainer-issued": {"0": 311, "1": 9}, "detainer-declined": {"0": 2}}


def test_a_draining_week_names_the_transactions_below_its_barrier() -> None:
    assert with_blockers(WEEK | {"barrier": BARRIER}, BLOCKED) == {
        **WEEK,
        "waits_for": ["an open transaction blocks detainer-issued/0 since offset 307"],
    }


def test_a_week_without_a_barrier_or_after_it_waits_for_no_transaction() -> None:
    assert with_blockers(WEEK | {"state": "requested", "barrier": None}, BLOCKED)["waits_for"] == []
    assert with_blockers(WEEK | {"state": "published", "barrier": BARRIER}, BLOCKED)["waits_for"] == []


def test_each_blocked_partition_gives_a_sentence() -> None:
    partitions = [
        {"topic": "detainer-issued", "partition": 0, "open_transaction_since": 0},
        {"topic": "detainer-issued", "partition": 1, "open_transaction_since": None},
    ]
    assert open_transactions(partitions) == ["an open transaction blocks detainer-issued/0 since offset 0"]
