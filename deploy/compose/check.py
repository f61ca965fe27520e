"""Checks of `deploy/compose/try` on the running system, inside a container: check.py report | users | prometheus.

Prints one line of results and exits with 0, or prints the fault and exits with 1. Uses the standard library and
asyncpg, which the image has.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg

WEEK = "2017-01-28"
PUBLISHER = os.environ.get("DDOR_PUBLISHER_URL", "http://publisher:8083")
REPORT = f"{PUBLISHER}/v1/reports/{WEEK}"
PROMETHEUS = "http://prometheus:9090/api/v1"
JOBS = {"ingest", "aggregator", "publisher"}
# Seconds: two scrapes and an evaluation, with a margin.
SCRAPED_WITHIN = 90.0
USERS = {"ddor-publisher-http": "reader", "ddor-publisher": "publisher", "ddor-aggregator": "aggregator"}
"""The user of PostgreSQL, by the beginning of the name of a connection; the first match applies."""


def main() -> int:
    """Run the check that the first argument names."""
    try:
        line = {"report": report, "users": users, "prometheus": prometheus}[sys.argv[1]]()
    except (AssertionError, OSError, KeyError) as wrong:
        sys.stderr.write(f"{type(wrong).__name__}: {wrong}\n")
        return 1
    sys.stdout.write(line + "\n")
    return 0


def report() -> str:
    """Check the acceptance week's figures as JSON and CSV, and that every record in Kafka is counted."""
    figures = json.loads(_get(f"{REPORT}.json"))
    declined = {row["name"] + " " + row["state"]: row["declined"] for row in figures["top"]}
    _same("totals", figures["totals"], {"issued": 3083, "declined": 206})
    _same("jurisdictions in the table", len(declined), 10)
    _same("declined in the ten", sum(declined.values()), 157)
    _same("declined in Clark", declined["Clark County NV"], 51)
    _same("declined in Nassau", declined["Nassau County NY"], 38)
    rows = list(csv.DictReader(io.StringIO(_get(f"{REPORT}.csv"))))
    for kind, total in figures["totals"].items():
        _same(f"{kind} in the CSV", sum(int(row[kind] or 0) for row in rows), total)
    status = json.loads(subprocess.run(["ddor", "status", "--json"], check=True, capture_output=True).stdout)  # noqa: S607
    read = sum(row["next_offset"] for row in status["partitions"])
    _same("records not yet counted", sum(row["lag"] for row in status["partitions"]), 0)
    _same("reports not yet sent", status["totals"]["unsent"], 0)
    return f"3,083 issued, 206 declined, 157 in ten, Clark 51, Nassau 38; {read:,} records, digest {figures['digest']}"


def users() -> str:
    """Check that each service is connected to PostgreSQL as its own user. Needs the administrator's address."""
    _get(f"{PUBLISHER}/v1/reports")  # opens a connection for readers
    connected = asyncio.run(_connected(Path(os.environ["DDOR_POSTGRES_DSN_FILE"]).read_text().strip()))
    for name, user in connected:
        expected = next((USERS[one] for one in USERS if name.startswith(one)), "none")
        _same(f"user of the connection {name}", user, expected)
    found = {user for _, user in connected}
    _same("users with connections", found, set(USERS.values()))
    return f"connections of {', '.join(sorted(found))}"


async def _connected(dsn: str) -> list[tuple[str, str]]:
    """The name and user of each connection of a service."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT DISTINCT application_name, usename FROM pg_stat_activity"
            " WHERE application_name LIKE 'ddor-%' AND datname = current_database()"
        )
    finally:
        await connection.close()
    return [(row["application_name"], row["usename"]) for row in rows]


def prometheus() -> str:
    """Check that all three services are scraped, that every rule can be evaluated, and that no alert fires."""
    give_up = time.monotonic() + SCRAPED_WITHIN
    while True:
        targets = json.loads(_get(f"{PROMETHEUS}/targets?state=active"))["data"]["activeTargets"]
        health = {target["labels"]["job"]: target["health"] for target in targets}
        groups = json.loads(_get(f"{PROMETHEUS}/rules?type=alert"))["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        seen = {rule["health"] for rule in rules}
        if health == dict.fromkeys(JOBS, "up") and seen == {"ok"}:
            break
        assert time.monotonic() < give_up, f"targets {health}, rules {sorted(seen)}"
        time.sleep(1)
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    assert not firing, f"alerts fire: {firing}"
    return f"{', '.join(sorted(health))} up; {len(rules)} alerts evaluated, none fires"


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310  # addresses of this project
        body: bytes = response.read()
    return body.decode()


def _same(what: str, found: Any, wanted: Any) -> None:
    assert found == wanted, f"{what}: {found}, expected {wanted}"


if __name__ == "__main__":
    raise SystemExit(main())
