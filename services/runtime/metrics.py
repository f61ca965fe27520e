"""Prometheus metrics. The names are a contract: alerts and dashboards rely on them."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram

INGEST_EVENTS = Counter("ddor_ingest_events_total", "Events answered at the door.", ["kind", "outcome", "code"])
AGGREGATOR_RECORDS = Counter(
    "ddor_aggregator_records_total",
    "Records counted into PostgreSQL, by what became of them.",
    ["topic", "outcome"],
)
BATCH_RECORDS = Histogram(
    "ddor_aggregator_batch_records",
    "Records in a committed batch.",
    buckets=(1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000),
)
BATCH_SECONDS = Histogram(
    "ddor_aggregator_batch_duration_seconds",
    "From when the writer takes a decoded batch to its commit, or to where it was fenced.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
UNREAD = Gauge(
    "ddor_aggregator_unread_partitions", "Partitions that this worker has a lease for and does not read: halted ones."
)
LAG = Gauge("ddor_aggregator_lag_records", "End offset less position.", ["topic", "partition"])
AGENCY_LAST_EVENT = Gauge(
    "ddor_agency_last_event_timestamp_seconds", "When the last event of an agency was accepted.", ["agency"]
)
OUTBOX_AGE = Gauge("ddor_publisher_outbox_oldest_age_seconds", "Age of the oldest message not yet on Kafka; 0 if none.")
WEEK_STATE = Gauge("ddor_publisher_week_state", "Weeks by state.", ["state"])
WEEK_DUE = Gauge(
    "ddor_publisher_week_due_timestamp_seconds",
    "End and grace of the earliest week that closes by itself and is not published; 0 while another leads.",
)
REFUSED_RESTATEMENTS = Gauge(
    "ddor_publisher_refused_restatements", "Weeks of which a restatement could not be proven, and none could since."
)
SESSION_UP = Gauge(
    "ddor_session_up", "1 while the service has what it needs for this part of its work, else 0.", ["what"]
)
_BUILD = Gauge("ddor_build_info", "Always 1; the labels say what runs.", ["version", "revision"])


def publish_build(revision: str) -> None:
    """Set `ddor_build_info` to the installed version and the given source revision."""
    _BUILD.labels(version("weekly-detainer-report"), revision).set(1)
