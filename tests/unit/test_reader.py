"""services.aggregator.reader: exactly the records from the position on, for every kind of delivery."""

from __future__ import annotations

import pytest

from services.aggregator.reader import Reader
from services.aggregator.spans import Claim, Span
from services.runtime.kafka import topic_partition
from tests.support.sessions import DECLINED_0, ISSUED_0, ISSUED_1, FakeConsumer, lease, records


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def reader(consumer: FakeConsumer) -> Reader:
    return Reader(consumer)


def offsets(spans: list[Span]) -> list[tuple[str, int, int, list[int]]]:
    assert all(span.end == span.records[-1].offset + 1 for span in spans)
    return [(str(span.partition), span.epoch, span.start, [one.offset for one in span.records]) for span in spans]


def test_a_gained_partition_is_sought_before_it_is_resumed(reader: Reader, consumer: FakeConsumer) -> None:
    reader.start(lease(ISSUED_0, 40))
    assert consumer.calls == [("seek", topic_partition(ISSUED_0), 40), ("resume", topic_partition(ISSUED_0))]
    assert reader.next_offsets == {ISSUED_0: 40}
    assert reader.epoch(ISSUED_0) == 1


def test_a_lost_partition_is_paused_and_removed(reader: Reader, consumer: FakeConsumer) -> None:
    reader.start(lease(ISSUED_0, 40))
    reader.stop([ISSUED_0, ISSUED_1])
    assert consumer.calls[2:] == [("pause", topic_partition(ISSUED_0))]
    assert reader.next_offsets == {}
    assert reader.epoch(ISSUED_0) is None
    assert reader.spans(records(ISSUED_0, 40)) == []


def test_records_of_partitions_without_a_lease_are_dropped(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 0))
    spans = reader.spans([*records(ISSUED_1, 0, 1), *records(ISSUED_0, 0), *records(DECLINED_0, 0)])
    assert offsets(spans) == [("detainer-issued/0", 1, 0, [0])]


def test_records_from_before_the_position_are_dropped(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 3))
    assert reader.spans(records(ISSUED_0, 0, 1, 2)) == []
    assert offsets(reader.spans(records(ISSUED_0, 2, 3, 4))) == [("detainer-issued/0", 1, 3, [3, 4])]


def test_one_delivery_can_have_several_partitions(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 5, epoch=7))
    reader.start(lease(DECLINED_0, 0, epoch=2))
    spans = reader.spans([*records(DECLINED_0, 0, 1), *records(ISSUED_0, 5)])
    assert offsets(spans) == [("detainer-declined/0", 2, 0, [0, 1]), ("detainer-issued/0", 7, 5, [5])]


def test_a_first_batch_beyond_the_position_is_sought_again(reader: Reader, consumer: FakeConsumer) -> None:
    reader.start(lease(ISSUED_0, 40))
    del consumer.calls[:]
    assert reader.spans(records(ISSUED_0, 43)) == []
    assert consumer.calls == [("seek", topic_partition(ISSUED_0), 40)]


def test_a_gap_that_remains_is_a_gap_of_the_log(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 40))
    reader.spans(records(ISSUED_0, 43))
    assert offsets(reader.spans(records(ISSUED_0, 43, 44))) == [("detainer-issued/0", 1, 40, [43, 44])]


def test_a_gap_between_batches_is_claimed_with_the_next_records(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 0))
    reader.spans(records(ISSUED_0, 0))
    assert offsets(reader.spans(records(ISSUED_0, 2))) == [("detainer-issued/0", 1, 1, [2])]


def test_a_batch_of_an_earlier_lease_does_not_cause_a_gap(reader: Reader, consumer: FakeConsumer) -> None:
    """Stopped at 40 with 50 in flight, and started again: the first delivery may be the old 50."""
    reader.start(lease(ISSUED_0, 40))
    assert offsets(reader.spans(records(ISSUED_0, 40, 41))) == [("detainer-issued/0", 1, 40, [40, 41])]
    reader.stop([ISSUED_0])
    reader.start(lease(ISSUED_0, 40, epoch=2))
    del consumer.calls[:]
    assert reader.spans(records(ISSUED_0, 50, 51)) == []
    assert consumer.calls == [("seek", topic_partition(ISSUED_0), 40)]
    assert offsets(reader.spans(records(ISSUED_0, 40, 41))) == [("detainer-issued/0", 2, 40, [40, 41])]


def test_old_records_do_not_confirm_the_position(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 40))
    assert reader.spans(records(ISSUED_0, 38, 39)) == []
    assert reader.spans(records(ISSUED_0, 43)) == []
    assert offsets(reader.spans(records(ISSUED_0, 40))) == [("detainer-issued/0", 1, 40, [40])]


def test_only_written_records_move_the_position(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 0))
    reader.spans(records(ISSUED_0, 0, 1, 2))
    assert reader.next_offsets == {ISSUED_0: 3}
    assert reader.positions == {ISSUED_0: 0}
    reader.mark_written([Claim(ISSUED_0, 1, 0, 3, 3), Claim(ISSUED_1, 1, 0, 9, 9)])
    assert reader.next_offsets == {ISSUED_0: 3}
    assert reader.positions == {ISSUED_0: 3}


def test_records_written_under_another_epoch_do_not_move_the_position(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 0, epoch=2))
    reader.mark_written([Claim(ISSUED_0, 1, 0, 5, 5)])
    assert reader.next_offsets == {ISSUED_0: 0}
    assert reader.positions == {ISSUED_0: 0}


def test_a_delivery_continues_after_the_last_one(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 0))
    reader.spans(records(ISSUED_0, 0, 1))
    assert reader.spans(records(ISSUED_0, 0, 1)) == []
    assert offsets(reader.spans(records(ISSUED_0, 1, 2))) == [("detainer-issued/0", 1, 2, [2])]


def test_an_uncommitted_batch_is_read_again_from_the_same_start(reader: Reader) -> None:
    """The partition is stopped, and started again at the position in PostgreSQL."""
    reader.start(lease(ISSUED_0, 0))
    first = offsets(reader.spans(records(ISSUED_0, 0, 1)))
    reader.stop([ISSUED_0])
    reader.start(lease(ISSUED_0, 0))
    assert offsets(reader.spans(records(ISSUED_0, 0, 1))) == first


def test_a_gap_without_records_is_skipped(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 7, epoch=3))
    assert reader.skip(ISSUED_0, 7, 9) == Span(ISSUED_0, 3, 7, 9, ())
    assert reader.next_offsets == {ISSUED_0: 9}


def test_a_gap_is_not_skipped_if_the_partition_has_moved_or_is_lost(reader: Reader) -> None:
    reader.start(lease(ISSUED_0, 7))
    reader.spans(records(ISSUED_0, 7))
    assert reader.skip(ISSUED_0, 7, 9) is None
    assert reader.skip(ISSUED_1, 0, 9) is None
    assert reader.next_offsets == {ISSUED_0: 8}
