"""Open transactions: metrics, log and `ddor status` report blocked partitions, but not normal transactions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.aggregator.open_transactions import OpenTransactionMonitor
from services.runtime import metrics, transactions
from tests.support.sessions import DECLINED_0, ISSUED_0, ISSUED_1

_NAME = "ddor_aggregator_open_transaction_offset"


@pytest.fixture(autouse=True)
def no_metric() -> Iterator[None]:
    metrics.OPEN_TRANSACTION.clear()
    yield
    metrics.OPEN_TRANSACTION.clear()


def _shown() -> dict[tuple[str, str], float]:
    [family] = [one for one in REGISTRY.collect() if one.name == _NAME]
    return {(one.labels["topic"], one.labels["partition"]): one.value for one in family.samples}


def test_a_partition_is_blocked_where_committed_records_end_below_the_high_watermark() -> None:
    stable = {ISSUED_0: 307, ISSUED_1: 9, DECLINED_0: 4}
    assert transactions.blocked(stable, {ISSUED_0: 311, ISSUED_1: 9}) == {ISSUED_0: 307}
    assert transactions.blocked({ISSUED_0: 312}, {ISSUED_0: 311}) == {}, "a record arrived between the two responses"


def test_a_long_transaction_and_its_end_are_shown_and_logged_once() -> None:
    monitor = OpenTransactionMonitor()
    with capture_logs() as logged:
        for now in range(0, 40):
            monitor.observe({ISSUED_0: 307}, float(now))
            assert _shown() == ({("detainer-issued", "0"): 307} if now >= 10 else {})
        monitor.observe({}, 40.0)
    assert _shown() == {}
    assert [one["event"] for one in logged] == ["open-transaction", "open-transaction-ended"]
    assert (logged[0]["log_level"], logged[0]["partition"], logged[0]["offset"]) == (
        "warning",
        "detainer-issued/0",
        307,
    )
    assert "an open transaction blocks detainer-issued/0 since offset 307" in logged[0]["detail"]


def test_short_transactions_block_nothing() -> None:
    """A busy producer always has an open transaction; each begins at another offset."""
    monitor = OpenTransactionMonitor()
    with capture_logs() as logged:
        for now in range(60):
            monitor.observe({ISSUED_0: 300 + now // 5}, float(now))
    assert (_shown(), logged) == ({}, [])


def test_the_next_long_transaction_is_reported_separately() -> None:
    monitor = OpenTransactionMonitor()
    for now, offset in ((0, 307), (10, 307), (11, 400), (20, 400)):
        monitor.observe({ISSUED_0: offset}, float(now))
    assert _shown() == {}, "the second is open for nine seconds"
    monitor.observe({ISSUED_0: 400}, 21.0)
    assert _shown() == {("detainer-issued", "0"): 400}
