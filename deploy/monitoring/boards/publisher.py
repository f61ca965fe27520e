"""Weeks, reports and their readers."""

from __future__ import annotations

from deploy.monitoring.boards import process
from deploy.monitoring.panels import GOOD_IS_ZERO, Board, Panel, Query, Row

_OURS = 'job="publisher",instance=~"$instance"'

_WEEKS = Row(
    "Weeks",
    [
        Panel(
            "Next week is due",
            "End plus grace of the earliest unpublished week. No value: no publisher leads.",
            [Query("1000 * max(ddor_publisher_week_due_timestamp_seconds > 0)", "due")],
            unit="dateTimeFromNow",
            kind="stat",
            width=6,
            minimum=None,
            runbooks=["week-overdue"],
        ),
        Panel(
            "A week is overdue",
            "1 while a week is unpublished ten minutes after its end plus grace.",
            [Query("slo:week_overdue:bool", "overdue")],
            width=6,
            maximum=1,
            limits=((None, "green"), (1, "red")),
            runbooks=["published-late"],
        ),
        Panel(
            "Weeks by state",
            "draining: its records are counted. held: an operator must review findings. halted: records are missing.",
            [Query("max by (state) (ddor_publisher_week_state)", "{{state}}")],
            width=12,
            stacked=True,
            runbooks=["week-overdue", "week-held", "log-lost"],
        ),
    ],
)

_PROOFS = Row(
    "Proofs and messages",
    [
        Panel(
            "Reports that differ from the log",
            "Weeks whose first revision differs from a second count of the log.",
            [Query("max(ddor_publisher_failed_verifications)", "weeks")],
            kind="stat",
            width=6,
            height=5,
            limits=GOOD_IS_ZERO,
            runbooks=["verification-failed"],
        ),
        Panel(
            "Audit with a difference",
            "1 if the last proof of the whole ledger found a difference. No week closes.",
            [Query("max(ddor_publisher_audit_failed)", "difference")],
            kind="stat",
            width=6,
            height=5,
            limits=GOOD_IS_ZERO,
            runbooks=["audit-failed"],
        ),
        Panel(
            "Age of the last audit",
            "Time since the last proof of the whole ledger. A publisher runs one each day.",
            [Query("time() - max(ddor_publisher_audit_timestamp_seconds)", "age")],
            kind="stat",
            unit="s",
            width=6,
            height=5,
            limits=((None, "green"), (2 * 86_400, "orange")),
            runbooks=["audit-overdue"],
        ),
        Panel(
            "Refused restatements",
            "Weeks with changed figures that no record explains.",
            [Query("max(ddor_publisher_refused_restatements)", "weeks")],
            kind="stat",
            width=6,
            height=5,
            limits=GOOD_IS_ZERO,
            runbooks=["restatement-refused"],
        ),
        Panel(
            "Foreign records",
            "Records on report-ready that the publisher did not write.",
            [Query("max by (topic) (ddor_publisher_foreign_records)", "{{topic}}")],
            kind="stat",
            width=6,
            height=5,
            limits=GOOD_IS_ZERO,
            runbooks=["foreign-records"],
        ),
        Panel(
            "Parts that run",
            "1 while the part runs. A waiting publisher is ready, too.",
            [Query(f"min by (instance, what) (ddor_session_up{{{_OURS}}})", "{{instance}} {{what}}")],
            kind="stat",
            width=6,
            height=5,
            limits=((None, "red"), (1, "green")),
            runbooks=["session-down"],
        ),
        Panel(
            "Age of the oldest unsent message",
            "A finished report waits for Kafka. An alert pages above five minutes.",
            [Query("max(ddor_publisher_outbox_oldest_age_seconds)", "age")],
            unit="s",
            width=12,
            limits=((None, "green"), (300, "red")),
            runbooks=["outbox-old"],
        ),
        Panel(
            "Clock skew",
            "This host's clock minus that of PostgreSQL or Kafka. Beyond 60 s, nothing is published.",
            [Query(f"ddor_publisher_clock_skew_seconds{{{_OURS}}}", "{{instance}} against {{against}}")],
            unit="s",
            width=12,
            minimum=None,
            limits=((None, "red"), (-60, "green"), (60, "red")),
            runbooks=["clock-skew"],
        ),
    ],
)

_READERS = Row(
    "Readers",
    [
        Panel(
            "Refused requests",
            "503 because all connections to PostgreSQL were in use.",
            [
                Query(
                    f"sum by (instance) (rate(ddor_publisher_readers_turned_away_total{{{_OURS}}}[$__rate_interval]))",
                    "{{instance}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            "Open streams of announcements",
            "Clients of server-sent events.",
            [Query(f"ddor_publisher_open_streams{{{_OURS}}}", "{{instance}}")],
        ),
        Panel(
            "Deleted rows of expired data",
            "By table, in the last day.",
            [Query("sum by (table) (increase(ddor_pruned_rows_total[1d]))", "{{table}}")],
            runbooks=["retention-stopped"],
        ),
    ],
)

BOARD = Board(
    "ddor-publisher",
    "Detainer report: publisher and weeks",
    "When weeks close, whether their reports are proven and sent, and the load of readers.",
    [_WEEKS, _PROOFS, _READERS, process.row("publisher")],
    job="publisher",
)
