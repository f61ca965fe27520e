"""The state of the whole system on one page."""

from __future__ import annotations

from deploy.monitoring.panels import GOOD_IS_ZERO, Board, Panel, Query, Row

_JOBS = 'job=~"ingest|aggregator|publisher"'
_BUDGET_STEPS = ((None, "red"), (0.1, "orange"), (0.5, "green"))

_STATE = Row(
    "State",
    [
        Panel(
            "Services that respond",
            "Processes of each service whose /metrics Prometheus can read.",
            [Query(f"sum by (job) (up{{{_JOBS}}})", "{{job}}")],
            kind="stat",
            width=6,
            height=5,
            limits=((None, "red"), (1, "green")),
            runbooks=["target-down"],
        ),
        Panel(
            "Parts that do not run",
            "Sessions with Kafka or PostgreSQL that are down. /readyz of the service shows the cause.",
            [Query("count(ddor_session_up == 0) or vector(0)", "down")],
            kind="stat",
            width=4,
            height=5,
            limits=GOOD_IS_ZERO,
            runbooks=["session-down"],
        ),
        Panel(
            "Firing alerts",
            "Alerts that need action, by severity.",
            [
                Query('count(ALERTS{alertstate="firing",severity="page"}) or vector(0)', "page"),
                Query('count(ALERTS{alertstate="firing",severity="ticket"}) or vector(0)', "ticket"),
            ],
            kind="stat",
            width=6,
            height=5,
            limits=GOOD_IS_ZERO,
        ),
        Panel(
            "Next week is due",
            "End plus grace of the earliest unpublished week. No value: no publisher leads.",
            [Query("1000 * max(ddor_publisher_week_due_timestamp_seconds > 0)", "due")],
            unit="dateTimeFromNow",
            kind="stat",
            width=4,
            height=5,
            minimum=None,
            runbooks=["week-overdue"],
        ),
        Panel(
            "Halted partitions",
            "Partitions that no aggregator reads until an operator resumes them.",
            [Query("sum(ddor_aggregator_unread_partitions)", "halted")],
            kind="stat",
            width=4,
            height=5,
            limits=GOOD_IS_ZERO,
            runbooks=["partition-halted"],
        ),
    ],
)

_OBJECTIVES = Row(
    "Objectives",
    [
        Panel(
            "Rest of the error budget, 30 days",
            "1 − share of errors ÷ budget. Below 0 the objective is missed. See docs/slo.md.",
            [
                Query(
                    '1 - (1 - sum(rate(ddor_ingest_store_duration_seconds_bucket{outcome="final",le="1.0"}[30d]))'
                    " / sum(rate(ddor_ingest_store_duration_seconds_count[30d]))) / 0.001",
                    "acknowledged within 1 s",
                ),
                Query(
                    "1 - sum(rate(ddor_aggregator_late_records_total[30d]))"
                    " / sum(rate(ddor_aggregator_records_total[30d])) / 0.001",
                    "counted within 10 s",
                ),
                Query("1 - avg_over_time(slo:week_overdue:bool[30d]) / 0.005", "published within 10 min of grace"),
            ],
            unit="percentunit",
            kind="bargauge",
            width=10,
            limits=_BUDGET_STEPS,
            maximum=1,
            runbooks=["acknowledged-late", "counted-late", "published-late"],
        ),
        Panel(
            "Burn rate, 1 hour",
            "Share of errors in the last hour, divided by the budget. At 1, the budget lasts 30 days; 14.4 pages.",
            [
                Query('slo:errors:ratio_rate1h{slo=~"acknowledged|counted"} / 0.001', "{{slo}}"),
                Query('slo:errors:ratio_rate1h{slo="published"} / 0.005', "{{slo}}"),
            ],
            width=14,
            limits=((None, "green"), (1, "orange"), (14.4, "red")),
        ),
    ],
)

_FLOW = Row(
    "Flow",
    [
        Panel(
            "Events received",
            "Events with a receipt. Accepted events are stored in Kafka.",
            [Query("sum by (outcome) (rate(ddor_ingest_events_total[$__rate_interval]))", "{{outcome}}")],
            unit="eps",
            stacked=True,
            runbooks=["ingest-unavailable", "ingest-rejecting"],
        ),
        Panel(
            "Records counted",
            "Records in committed batches, by topic.",
            [Query("sum by (topic) (rate(ddor_aggregator_records_total[$__rate_interval]))", "{{topic}}")],
            unit="eps",
            stacked=True,
            runbooks=["aggregator-not-reading"],
        ),
        Panel(
            "Lag",
            "Records in Kafka that are not counted yet, by topic. No week closes before its records are counted.",
            [Query("sum by (topic) (max by (topic, partition) (ddor_aggregator_lag_records))", "{{topic}}")],
            runbooks=["aggregator-lagging"],
        ),
        Panel(
            "Weeks by state",
            "As the leading publisher reports. Draining, held and halted weeks are not published yet.",
            [Query("max by (state) (ddor_publisher_week_state)", "{{state}}")],
            width=12,
            stacked=True,
            runbooks=["week-overdue", "week-held"],
        ),
        Panel(
            "Versions",
            "The running version and revision of each process.",
            [Query(f"ddor_build_info{{{_JOBS}}}")],
            kind="table",
            width=12,
        ),
    ],
)

BOARD = Board(
    "ddor-overview",
    "Detainer report: overview",
    "Is everything running, are the objectives met, and how much flows through it?",
    [_STATE, _OBJECTIVES, _FLOW],
)
