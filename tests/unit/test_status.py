"""services.cli.status: what the table says is whole at any width."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from services.cli.status import _table

WORKER = "aggregator-in-a-rack-of-a-data-centre.eu-central.example.org:8082-and-a-half"


def _state(**more: Any) -> dict[str, Any]:
    partition = {"topic": "detainer-declined", "partition": 11, "lag": 12, "owner": None, "without_worker": True}
    return {
        "at": "2017-02-05T05:00:00+00:00",
        "current_week": "2017-02-04",
        "partitions": [{**partition, "halted_reason": "InternalErrors: 10 records failed inside this program"}],
        "workers": [{"name": WORKER, "age_seconds": 0.2, "partitions": 25, "dead": False}],
        "rejects": [{"topic": "detainer-declined", "reason": "unknown-jurisdiction", "n": 3}],
        "weeks": [{"week": "2017-01-28", "state": "closed"}],
        "refused": {"2017-01-21": "refused: causes do not sum"},
        "totals": {"records": 3_555, "duplicates": 20, "rejected": 3, "unsent": 0, "open_conflicts": 1},
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


def test_a_worker_that_is_dead_is_said_to_be_so_in_red_and_when_all_are_nothing_is_counted() -> None:
    def said(*workers: dict[str, Any]) -> str:
        screen = io.StringIO()
        Console(file=screen, width=100, force_terminal=True, color_system="standard").print(
            _table(_state(workers=list(workers)))
        )
        return screen.getvalue()

    alive = {"name": "one", "age_seconds": 0.2, "partitions": 13, "dead": False}
    dead = {"name": "two", "age_seconds": 90.0, "partitions": 12, "dead": True}
    red = "\x1b[31mtwo: seen 90.0 s ago, 12 partitions, dead"
    assert (red in said(alive, dead), "nothing is counted" in said(alive, dead)) == (True, False)
    assert (red in said(dead), "none: nothing is counted" in said(dead)) == (True, True)
    assert "none: nothing is counted" in said()
    assert "dead" not in said(alive)


def test_what_watch_does_not_ask_for_is_left_out_and_not_said_to_be_none() -> None:
    def said(state: dict[str, Any]) -> str:
        screen = io.StringIO()
        Console(file=screen, width=100).print(_table(state))
        return screen.getvalue()

    whole = _state()
    assert "open conflicts" in said(whole)
    assert "detainer-declined unknown-jurisdiction: 3" in said(whole)
    watched = said({name: value for name, value in whole.items() if name != "rejects"})
    assert "open conflicts" not in watched
    assert "none" not in watched.partition("weeks")[0].partition("without worker")[2]
    assert "2017-01-21: refused: causes do not sum" in watched
    assert "3,555 read, 20 of them duplicates, 3 rejected" in watched
