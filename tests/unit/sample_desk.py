"""Tables and contents of the desk for tests: one partition, one aggregator, a publisher that leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from schemas.log import Partition, Vector
from services.publisher.desk.contents import Contents, Growing
from services.publisher.desk.log_ends import LogEnds
from services.publisher.desk.reading import Tables
from services.publisher.desk.state import document
from services.runtime.settings import Settings

NOW = datetime(2017, 2, 5, 5, 30, tzinfo=UTC)
SETTINGS = Settings(first_week=date(2017, 1, 28))
ISSUED_3 = Partition("detainer-issued", 3)
PARTITION: dict[str, Any] = {
    "topic": "detainer-issued",
    "partition": 3,
    "next_offset": 100,
    "epoch": 4,
    "owner": "aggregator-1",
    "halted_reason": None,
    "records": 100,
    "duplicates": 7,
    "rejected": 2,
}
WORKER = {"name": "aggregator-1", "age_seconds": 0.2, "dead": False, "partitions": 1}
SPIKE = {"gate": "spike", "subject": "ice-las-vegas", "detail": "142 declines; its median week has 9"}
TABLES = Tables(
    partitions=[PARTITION],
    workers=[WORKER],
    publisher={"age_seconds": 1.0, "dead": False},
    weeks=[],
    closes={},
    refused={},
    restatements=[],
    verifications=[],
    audit=None,
    unsent=0,
    oldest_unsent=None,
    unsent_reports=[],
)


def week(state: str, **more: Any) -> dict[str, Any]:
    """A row of a week in this state."""
    barrier = {"detainer-issued": {"3": 100}}
    row: dict[str, Any] = {
        "week": "2017-01-28",
        "state": state,
        "held_until": None,
        "held_because": [],
        "released_by": None,
    }
    return {**row, "barrier": barrier, **more}


def ends(offset: int = 100, since: int | None = None) -> LogEnds:
    """The end of the partition, and whether it is blocked since an offset."""
    return LogEnds(Vector({ISSUED_3: offset}), {} if since is None else {ISSUED_3: since})


def state(known: LogEnds | None = None, **changes: Any) -> dict[str, Any]:
    """The status document of the tables with these changes."""
    return document(replace(TABLES, **changes), known or ends(), NOW, SETTINGS)


def contents(**changes: Any) -> Contents:
    """The contents of a page."""
    growing = Growing(NOW, [], 0, {})
    sessions = {"closing and sending": None, "verification": None, "agencies file": None}
    clocks = {"Kafka": None, "PostgreSQL": 0.01}
    made = {"state": state(), "growing": growing, "sessions": sessions, "clocks": clocks, **changes}
    return Contents(NOW, **made)
