"""services.cli.status: what the table says is whole at any width."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from services.cli.status import _table

WORKER = "aggregator-in-a-rack-of-a-data-centre.eu-central.example.org:8082-and-a-half"


def _state(**more: Any) -> dict[str, Any]:
    partition = {"topic": "detainer-declined", "partition": 11, "lag": 12, "owner": None}
    return {
        "at": "2017-02-05T05:00:00+00:00",
        "current_week": "2017-02-04",
        "partitions": [{**partition, "halted_reason": "InternalErrors: 10 records failed inside this program"}],
        "workers": [{"name": WORKER, "age_seconds": 0.2, "partitions": 25}],
        "rejects": [{"topic": "detainer-declined", "reason": "unknown-jurisdiction", "n": 3}],
        "weeks": [{"week": "2017-01-28", "state": "closed"}],
        "totals": {"open_conflicts": 0, "unsent": 0, "ledger": 1, "history": 0},
        **more,
    }


@pytest.mark.parametrize("width", [60, 80, 10_000])
def test_nothing_that_another_command_takes_is_cut(width: int) -> None:
    screen = io.StringIO()
    Console(file=screen, width=width).print(_table(_state()))
    said = screen.getvalue()
    assert "detainer-declined/11: InternalErrors" in said
    assert "…" not in said
    columns = [line.split("│")[2].strip() for line in said.splitlines() if "│" in line]
    assert WORKER in "".join(columns), "folded, and all there"
