"""services.aggregator.delay: how long records waited, and which of them are late."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from services.aggregator.delay import measure
from services.aggregator.spans import Span
from tests.support.batches import Record
from tests.support.sessions import DECLINED_0, ISSUED_0, ISSUED_1, WriterSession

NOW = 1_000.0


def span(partition: object, *seconds_ago: float) -> Span:
    assert isinstance(partition, type(ISSUED_0))
    records = [
        Record(partition.topic, partition.number, offset, timestamp=round((NOW - ago) * 1_000))
        for offset, ago in enumerate(seconds_ago)
    ]
    return Span(partition, 1, 0, len(records), records)


def test_the_delay_is_that_of_the_oldest_record() -> None:
    measured = measure([span(ISSUED_0, 3, 2), span(DECLINED_0, 9.5)], NOW)
    assert measured is not None
    assert measured.seconds == pytest.approx(9.5)
    assert measured.late == {}


def test_late_records_are_counted_by_topic() -> None:
    spans = [span(ISSUED_0, 11, 2, 1), span(ISSUED_1, 12), span(DECLINED_0, 10)]
    measured = measure(spans, NOW)
    assert measured is not None
    assert measured.late == {"detainer-issued": 4}


def test_a_time_in_the_future_is_no_delay_and_an_unknown_time_is_not_measured() -> None:
    measured = measure([span(ISSUED_0, -5)], NOW)
    assert measured is not None
    assert measured.seconds == 0
    unknown = Span(ISSUED_0, 1, 0, 1, [Record("detainer-issued", 0, 0)])
    assert measure([unknown, Span(ISSUED_1, 1, 4, 5, [])], NOW) is None


async def test_the_writer_reports_each_written_batch_once() -> None:
    def seen() -> tuple[float, float]:
        count = REGISTRY.get_sample_value("ddor_aggregator_count_delay_seconds_count")
        late = REGISTRY.get_sample_value("ddor_aggregator_late_records_total", {"topic": "detainer-issued"})
        return count or 0, late or 0

    session = WriterSession()
    before = seen()
    async with session.running():
        await session.writer.put([span(ISSUED_0, 0, 0)])  # long ago by the clock of this machine
        await session.writer.drained()
    assert seen() == (before[0] + 1, before[1] + 2)
