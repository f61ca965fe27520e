"""Foreign records on the event topics: each is rejected with a reason, and none causes an internal error."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.acceptance import Refused, accept_any
from schemas.log import Partition
from schemas.topics import DETAINER_DECLINED, DETAINER_ISSUED, EVENT_TOPICS, WEEK_ATTESTED
from services.aggregator import decoding
from services.aggregator.spans import Span
from tests.support import foreign
from tests.support.batches import WEEKS, Record
from tests.support.golden import example

_TOPICS = [topic.name for topic in EVENT_TOPICS]
_EVENTS = {name: foreign.encoded(example(name)) for name in (DETAINER_ISSUED, DETAINER_DECLINED, WEEK_ATTESTED)}


def _batch(topic: str, value: bytes | None) -> decoding.Batch:
    record = Record(topic, 0, 3, None, value)
    return decoding.decode([Span(Partition(topic, 0), 1, 3, 4, [record])], WEEKS)


@pytest.mark.parametrize("topic", _TOPICS)
@pytest.mark.parametrize("name", foreign.CORPUS)
def test_a_foreign_record_is_rejected_with_its_address_and_a_reason(topic: str, name: str) -> None:
    [reject] = _batch(topic, foreign.CORPUS[name]).rejects
    assert str(reject.address) == f"{topic}/0/3"
    assert reject.reason != decoding.INTERNAL_ERROR, "ten of these halt the partition"


@given(
    topic=st.sampled_from(_TOPICS),
    value=foreign.VALUES | st.sampled_from(list(_EVENTS.values())).flatmap(foreign.mutated),
)
def test_no_record_of_an_event_topic_causes_an_internal_error(topic: str, value: bytes | None) -> None:
    batch = _batch(topic, value)
    assert [one.reason for one in batch.rejects if one.reason == decoding.INTERNAL_ERROR] == []
    assert len(batch.rejects) + len(batch.winners) + len(batch.attestations) == 1, "nothing is dropped"
    with suppress(Refused):  # a redrive and a trace expect no other exception
        accept_any(value, topic)
