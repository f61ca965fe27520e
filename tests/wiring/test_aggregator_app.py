"""services.aggregator.app: metrics before the first record is counted."""

from __future__ import annotations

from itertools import product

from prometheus_client import REGISTRY

from schemas.topics import EVENT_TOPICS
from services.aggregator import app
from services.aggregator.store import OUTCOMES
from services.runtime import metrics
from services.runtime.settings import Settings


def test_every_series_of_records_is_0_at_the_start() -> None:
    """Prometheus sees no increase in a series that starts with its first record: no alert for the first reject."""
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
