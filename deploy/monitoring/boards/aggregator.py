"""Records from Kafka, and their way into the counts."""

from __future__ import annotations

from deploy.monitoring.boards import process
from deploy.monitoring.panels import GOOD_IS_ZERO, Board, Panel, Query, Row

_OURS = 'job="aggregator",instance=~"$instance"'


def _quantile(name: str, share: float) -> Query:
    expression = f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{{{_OURS}}}[$__rate_interval])))"
    return Query(expression, f"{share:.0%}")


_RECORDS = Row(
    "Records",
    [
        Panel(
            "Records by outcome",
            "ledger: changed the counts. history: superseded. duplicate: known. rejected: invalid.",
            [
                Query(
                    f"sum by (outcome) (rate(ddor_aggregator_records_total{{{_OURS}}}[$__rate_interval]))",
                    "{{outcome}}",
                )
            ],
            unit="eps",
            stacked=True,
            runbooks=["aggregator-not-reading"],
        ),
        Panel(
            "Records by topic",
            "Records in committed batches.",
            [Query(f"sum by (topic) (rate(ddor_aggregator_records_total{{{_OURS}}}[$__rate_interval]))", "{{topic}}")],
            unit="eps",
            stacked=True,
        ),
        Panel(
            "Rejected records, last hour",
            "Ingest applies the same rules, so normally there are none. `ddor rejected list` shows them.",
            [
                Query(
                    f'sum by (topic) (increase(ddor_aggregator_records_total{{{_OURS},outcome="rejected"}}[1h]))',
                    "{{topic}}",
                )
            ],
            kind="stat",
            decimals=0,
            limits=GOOD_IS_ZERO,
            runbooks=["records-rejected", "rejected"],
        ),
    ],
)

_LATE = Row(
    "Lag and delay",
    [
        Panel(
            "Lag by topic",
            "Records in Kafka that are not counted yet, including those that an open transaction hides.",
            [Query("sum by (topic) (max by (topic, partition) (ddor_aggregator_lag_records))", "{{topic}}")],
            runbooks=["aggregator-lagging"],
        ),
        Panel(
            "Partitions with the longest lag",
            "A ticket is created above 10,000 records for ten minutes.",
            [
                Query(
                    "topk(5, max by (topic, partition) (ddor_aggregator_lag_records))",
                    "{{topic}}/{{partition}}",
                )
            ],
            limits=((None, "green"), (10_000, "orange")),
            runbooks=["aggregator-lagging"],
        ),
        Panel(
            "Time from Kafka to the count",
            "Of the oldest record in each batch. The objective is ten seconds.",
            [_quantile("ddor_aggregator_count_delay_seconds", share) for share in (0.5, 0.9, 0.99)],
            unit="s",
            limits=((None, "green"), (10, "red")),
            runbooks=["counted-late"],
        ),
        Panel(
            "Late records",
            "Counted more than ten seconds after Kafka's timestamp.",
            [
                Query(
                    f"sum by (topic) (rate(ddor_aggregator_late_records_total{{{_OURS}}}[$__rate_interval]))",
                    "{{topic}}",
                )
            ],
            unit="eps",
            runbooks=["counted-late"],
        ),
        Panel(
            "Halted partitions",
            "By aggregator. `ddor status` shows the reason of each.",
            [Query(f"max by (instance) (ddor_aggregator_unread_partitions{{{_OURS}}})", "{{instance}}")],
            kind="stat",
            limits=GOOD_IS_ZERO,
            runbooks=["partition-halted", "position-lost"],
        ),
        Panel(
            "Partitions blocked by an open transaction",
            "A producer began a transaction at least ten seconds ago and has not ended it.",
            [
                Query(
                    "count(max by (topic, partition) (ddor_aggregator_open_transaction_offset)) or vector(0)", "blocked"
                )
            ],
            kind="stat",
            limits=GOOD_IS_ZERO,
            runbooks=["open-transaction"],
        ),
    ],
)

_BATCHES = Row(
    "Batches",
    [
        Panel(
            "Duration of a batch",
            "From a decoded batch to its commit. Above a second, PostgreSQL is the bottleneck.",
            [_quantile("ddor_aggregator_batch_duration_seconds", share) for share in (0.5, 0.9, 0.99)],
            unit="s",
            limits=((None, "green"), (1, "orange")),
            runbooks=["aggregator-lagging"],
        ),
        Panel(
            "Records in a batch",
            "Batches are small when there is little to do, and large when the aggregator catches up.",
            [_quantile("ddor_aggregator_batch_records", share) for share in (0.5, 0.9)],
        ),
        Panel(
            "Batches",
            "Committed batches with records.",
            [
                Query(
                    f"sum by (instance) (rate(ddor_aggregator_batch_records_count{{{_OURS}}}[$__rate_interval]))",
                    "{{instance}}",
                )
            ],
            unit="ops",
        ),
    ],
)

_UPKEEP = Row(
    "Sessions and retention",
    [
        Panel(
            "Parts that run",
            "1 while the aggregator has its leases and positions.",
            [Query(f"min by (instance, what) (ddor_session_up{{{_OURS}}})", "{{instance}} {{what}}")],
            kind="stat",
            width=12,
            height=5,
            limits=((None, "red"), (1, "green")),
            runbooks=["session-down"],
        ),
        Panel(
            "Time since expired rows were deleted",
            "By table. A ticket is created after three days.",
            [Query("time() - max by (table) (ddor_pruned_timestamp_seconds)", "{{table}}")],
            unit="s",
            kind="stat",
            width=12,
            height=5,
            limits=((None, "green"), (3 * 86_400, "orange")),
            runbooks=["retention-stopped"],
        ),
    ],
)

BOARD = Board(
    "ddor-aggregator",
    "Detainer report: aggregator",
    "Records from Kafka, how long they wait, and the batches that count them.",
    [_RECORDS, _LATE, _BATCHES, _UPKEEP, process.row("aggregator")],
    job="aggregator",
)
