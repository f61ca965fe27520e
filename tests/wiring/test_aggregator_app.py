"""services.aggregator.app: what an aggregator shows before it has counted anything."""

from __future__ import annotations

from itertools import product

from prometheus_client import REGISTRY

from schemas.topics import EVENT_TOPICS
from services.aggregator import app
from services.aggregator.store import OUTCOMES
from services.runtime import metrics
from services.runtime.settings import Settings


def test_every_series_of_records_stands_at_0_from_the_start() -> None:
    """A series that begins with its first record shows no increase, and nobody would hear of a first reject."""
    metrics.AGGREGATOR_RECORDS.clear()
    app.create(Settings())
    shown = {
        (topic.name, outcome): REGISTRY.get_sample_value(
            "ddor_aggregator_records_total", {"topic": topic.name, "outcome": outcome}
        )
        for topic, outcome in product(EVENT_TOPICS, OUTCOMES)
    }
    assert shown == dict.fromkeys(shown, 0.0)
    assert len(shown) == 12
