"""The row about the processes of a service, which every dashboard of a service has."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row


def row(job: str) -> Row:
    """CPU, memory, open files and starts of the processes of a job."""
    ours = f'{{job="{job}",instance=~"$instance"}}'
    return Row(
        "Processes",
        [
            Panel(
                "CPU",
                "CPU time of each process; 1 is one core. A process uses at most about one.",
                [Query(f"rate(process_cpu_seconds_total{ours}[$__rate_interval])", "{{instance}}")],
                width=6,
                limits=((None, "green"), (0.9, "orange")),
            ),
            Panel(
                "Memory",
                "Resident memory of each process. docker-compose.yml limits it to 1 GB for ingest, else to 512 MB.",
                [Query(f"process_resident_memory_bytes{ours}", "{{instance}}")],
                unit="bytes",
                width=6,
            ),
            Panel(
                "Open files",
                "Share of the limit on open files. Each connection needs one.",
                [Query(f"process_open_fds{ours} / process_max_fds{ours}", "{{instance}}")],
                unit="percentunit",
                width=6,
                limits=((None, "green"), (0.8, "red")),
            ),
            Panel(
                "Refused connections",
                "Connections refused because of a limit in total or for an address.",
                [Query(f"rate(ddor_connections_refused_total{ours}[$__rate_interval])", "{{instance}}")],
                unit="cps",
                width=6,
            ),
            Panel(
                "Certificates",
                "Time until the end of the certificate in each configured file. Without such a file there is no data.",
                [Query(f"ddor_certificate_expiry_timestamp_seconds{ours} - time()", "{{instance}} {{use}}")],
                unit="s",
                width=24,
                limits=((None, "red"), (14 * 86400, "green")),
                runbooks=("certificate-expires",),
            ),
        ],
    )
