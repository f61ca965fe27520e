"""Prometheus metrics. The names are a contract with alerts and dashboards."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram

INGEST_EVENTS = Counter("ddor_ingest_events_total", "Events with a final receipt.", ["kind", "outcome", "code"])
STORE_SECONDS = Histogram(
    "ddor_ingest_store_duration_seconds",
    "Seconds from the complete events of a request, or of a window of a stream, to their receipts. The outcome is"
    " `final`, or `unavailable` if Kafka is not available or did not acknowledge all of them.",
    ["outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
AGGREGATOR_RECORDS = Counter(
    "ddor_aggregator_records_total",
    "Records in committed batches, by outcome.",
    ["topic", "outcome"],
)
BATCH_RECORDS = Histogram(
    "ddor_aggregator_batch_records",
    "Records in a committed batch.",
    buckets=(1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000),
)
BATCH_SECONDS = Histogram(
    "ddor_aggregator_batch_duration_seconds",
    "Seconds from a decoded batch to its commit, or until it is fenced.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
COUNT_DELAY = Histogram(
    "ddor_aggregator_count_delay_seconds",
    "Seconds from Kafka's timestamp of the oldest record in a batch to the commit of the batch.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600),
)
LATE_RECORDS = Counter(
    "ddor_aggregator_late_records_total",
    "Records of a partition in a committed batch, if the oldest of them was counted more than 10 s after Kafka's"
    " timestamp.",
    ["topic"],
)
UNREAD = Gauge(
    "ddor_aggregator_unread_partitions", "Leased partitions that this worker does not read because they are halted."
)
LAG = Gauge("ddor_aggregator_lag_records", "High watermark minus position.", ["topic", "partition"])
OPEN_TRANSACTION = Gauge(
    "ddor_aggregator_open_transaction_offset",
    "First offset of a producer's transaction that has blocked the partition for 10 s or longer.",
    ["topic", "partition"],
)
AGENCY_LAST_EVENT = Gauge(
    "ddor_agency_last_event_timestamp_seconds", "Time of the last accepted event of an agency.", ["agency"]
)
OUTBOX_AGE = Gauge("ddor_publisher_outbox_oldest_age_seconds", "Age of the oldest unsent message; 0 if none.")
WEEK_STATE = Gauge("ddor_publisher_week_state", "Weeks by state.", ["state"])
WEEK_DUE = Gauge(
    "ddor_publisher_week_due_timestamp_seconds",
    "Due time (end plus grace) of the earliest unpublished week; 0 if another publisher leads.",
)
FOREIGN_RECORDS = Gauge(
    "ddor_publisher_foreign_records",
    "Records on the topic that are not announcements, as of the last read. They are skipped.",
    ["topic"],
)
REFUSED_RESTATEMENTS = Gauge("ddor_publisher_refused_restatements", "Weeks whose last restatement failed its proof.")
CLOCK_SKEW = Gauge(
    "ddor_publisher_clock_skew_seconds",
    "This host's clock minus the clock of PostgreSQL or Kafka, as last compared.",
    ["against"],
)
READERS_TURNED_AWAY = Counter(
    "ddor_publisher_readers_turned_away_total",
    "Requests refused with 503 because all connections to PostgreSQL were in use.",
)
STREAMS = Gauge("ddor_publisher_open_streams", "Open streams of announcements.")
PRUNED = Counter("ddor_pruned_rows_total", "Rows deleted after their retention period.", ["table"])
PRUNED_AT = Gauge("ddor_pruned_timestamp_seconds", "Time of the last complete deletion of expired rows.", ["table"])
FAILED_VERIFICATIONS = Gauge("ddor_publisher_failed_verifications", "Weeks whose first revision differs from the log.")
AUDIT_AT = Gauge(
    "ddor_publisher_audit_timestamp_seconds",
    "Time of the last proof of the whole ledger; 0 before the first one is known.",
)
AUDIT_FAILED = Gauge(
    "ddor_publisher_audit_failed", "1 if the last proof of the whole ledger found a difference, else 0."
)
SESSION_UP = Gauge("ddor_session_up", "1 while this part of the service is running, else 0.", ["what"])
CONNECTIONS_REFUSED = Counter("ddor_connections_refused_total", "Connections refused because of a connection limit.")
CERTIFICATE_EXPIRY = Gauge(
    "ddor_certificate_expiry_timestamp_seconds",
    "End of the validity of the certificates in a configured file: the earliest end of a chain, the latest end of CA"
    " certificates.",
    ["use"],
)
_BUILD = Gauge("ddor_build_info", "Always 1. The labels are the running version and revision.", ["version", "revision"])


def publish_build(revision: str) -> None:
    """Set `ddor_build_info` to the installed version and the given source revision."""
    _BUILD.labels(version("weekly-detainer-report"), revision).set(1)
