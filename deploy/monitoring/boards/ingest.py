"""Events from agencies, and their way into Kafka."""

from __future__ import annotations

from deploy.monitoring.boards import process
from deploy.monitoring.panels import Board, Panel, Query, Row

_OURS = 'instance=~"$instance"'
_TIMES = f'ddor_ingest_store_duration_seconds_bucket{{{_OURS},outcome="final"}}'


def _quantile(share: float) -> Query:
    expression = f"histogram_quantile({share}, sum by (le) (rate({_TIMES}[$__rate_interval])))"
    return Query(expression, f"{share:.0%}")


_EVENTS = Row(
    "Events",
    [
        Panel(
            "Events by outcome",
            "accepted: in Kafka. rejected: breaks a rule. refused: with its whole request. unavailable: not stored.",
            [Query(f"sum by (outcome) (rate(ddor_ingest_events_total{{{_OURS}}}[$__rate_interval]))", "{{outcome}}")],
            unit="eps",
            stacked=True,
        ),
        Panel(
            "Accepted events by kind",
            "issued, declined, attested.",
            [
                Query(
                    f'sum by (kind) (rate(ddor_ingest_events_total{{{_OURS},outcome="accepted"}}[$__rate_interval]))',
                    "{{kind}}",
                )
            ],
            unit="eps",
            stacked=True,
        ),
        Panel(
            "Refused events by code, last hour",
            "The ten most frequent codes. docs/errors.md has the meaning of each.",
            [
                Query(
                    "topk(10, sum by (kind, code)"
                    f' (increase(ddor_ingest_events_total{{{_OURS},outcome=~"rejected|refused"}}[1h])) > 0)',
                    "{{kind}} {{code}}",
                )
            ],
            kind="bargauge",
            decimals=0,
            runbooks=["ingest-rejecting"],
        ),
        Panel(
            "Share of events that are not stored",
            "Agencies resend these. An alert pages above 1 %.",
            [
                Query(
                    f'(sum(rate(ddor_ingest_events_total{{{_OURS},outcome="unavailable"}}[5m])) or vector(0))'
                    f" / sum(rate(ddor_ingest_events_total{{{_OURS}}}[5m]))",
                    "unavailable",
                )
            ],
            unit="percentunit",
            width=12,
            limits=((None, "green"), (0.01, "red")),
            runbooks=["ingest-unavailable"],
        ),
        Panel(
            "Share of events that are refused",
            "A ticket is created above 5 % for 15 minutes.",
            [
                Query(
                    f'(sum(rate(ddor_ingest_events_total{{{_OURS},outcome=~"rejected|refused"}}[15m])) or vector(0))'
                    f" / sum(rate(ddor_ingest_events_total{{{_OURS}}}[15m]))",
                    "rejected and refused",
                )
            ],
            unit="percentunit",
            width=12,
            limits=((None, "green"), (0.05, "orange")),
            runbooks=["ingest-rejecting"],
        ),
    ],
)

_LATENCY = Row(
    "Time to the receipt",
    [
        Panel(
            "Time from complete events to their receipts",
            "Quantiles over requests and windows of streams with final receipts. The objective is one second.",
            [_quantile(0.5), _quantile(0.9), _quantile(0.99)],
            unit="s",
            width=10,
            limits=((None, "green"), (1, "red")),
            runbooks=["acknowledged-late"],
        ),
        Panel(
            "Share within one second",
            "Requests without an acknowledgement of Kafka are not within it. The objective is 99.9 %.",
            [Query('1 - slo:errors:ratio_rate5m{slo="acknowledged"}', "last 5 minutes")],
            unit="percentunit",
            width=7,
            limits=((None, "red"), (0.999, "green")),
            minimum=None,
            maximum=1,
            runbooks=["acknowledged-late"],
        ),
        Panel(
            "Requests and windows",
            "final: all receipts are final. unavailable: Kafka did not acknowledge all events, or is not available.",
            [
                Query(
                    f"sum by (outcome) (rate(ddor_ingest_store_duration_seconds_count{{{_OURS}}}[$__rate_interval]))",
                    "{{outcome}}",
                )
            ],
            unit="reqps",
            width=7,
        ),
    ],
)

_AGENCIES = Row(
    "Agencies",
    [
        Panel(
            "Time since the last accepted event",
            "Over 30 days, because a restart of ingest removes an agency until its next event. A ticket after 5 days.",
            [
                Query(
                    "sort_desc(time() - max by (agency)"
                    " (max_over_time(ddor_agency_last_event_timestamp_seconds[30d])))",
                    "{{agency}}",
                )
            ],
            unit="s",
            kind="bargauge",
            width=16,
            limits=((None, "green"), (2 * 86_400, "orange"), (5 * 86_400, "red")),
            runbooks=["agency-silent"],
        ),
        Panel(
            "Parts that run",
            "1 while ingest has a producer in Kafka.",
            [Query(f'min by (instance, what) (ddor_session_up{{job="ingest",{_OURS}}})', "{{instance}} {{what}}")],
            kind="stat",
            limits=((None, "red"), (1, "green")),
            runbooks=["session-down"],
        ),
    ],
)

BOARD = Board(
    "ddor-ingest",
    "Detainer report: ingest",
    "Events from agencies, their refusals, and the time to their receipts.",
    [_EVENTS, _LATENCY, _AGENCIES, process.row("ingest")],
    job="ingest",
)
