"""services.cli.status: the table at any width, and the exit code."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from services.cli.status import _table
from services.publisher.desk.findings import needs_operator

WORKER = "aggregator-in-a-rack-of-a-data-centre.eu-central.example.org:8082-and-a-half"


def _state(**more: Any) -> dict[str, Any]:
    partition = {"topic": "detainer-declined", "partition": 11, "lag": 12, "owner": None, "without_worker": True}
    return {
        "at": "2017-02-05T05:00:00+00:00",
        "current_week": "2017-02-04",
        "partitions": [{**partition, "halted_reason": "InternalErrors: 10 records caused an internal error"}],
        "workers": [{"name": WORKER, "age_seconds": 0.2, "partitions": 25, "dead": False}],
        "rejects": [{"topic": "detainer-declined", "reason": "unknown-jurisdiction", "n": 3}],
        "weeks": [{"week": "2017-01-28", "state": "closed"}],
        "publisher": {"age_seconds": 0.2, "dead": False},
        "refused": {"2017-01-21": "refused: causes do not sum"},
        "verifications": [],
        "audit": None,
        "next_week": None,
        "oldest_unsent": None,
        "totals": {"records": 3_555, "duplicates": 20, "rejected": 3, "unsent": 0, "open_conflicts": 1},
        **more,
    }


@pytest.mark.parametrize("width", [60, 80, 10_000])
def test_arguments_of_other_commands_are_never_cut(width: int) -> None:
    screen = io.StringIO()
    Console(file=screen, width=width).print(_table(_state()))
    output = screen.getvalue()
    assert "detainer-declined/11: InternalErrors" in output
    assert "…" not in output
    columns = [line.split("│")[2].strip() for line in output.splitlines() if "│" in line]
    assert WORKER in "".join(columns), "folded, and all there"


def test_dead_workers_are_red_and_without_a_live_one_nothing_is_counted() -> None:
    def output(*workers: dict[str, Any]) -> str:
        screen = io.StringIO()
        Console(file=screen, width=100, force_terminal=True, color_system="standard").print(
            _table(_state(workers=list(workers)))
        )
        return screen.getvalue()

    alive = {"name": "one", "age_seconds": 0.2, "partitions": 13, "dead": False}
    dead = {"name": "two", "age_seconds": 90.0, "partitions": 12, "dead": True}
    red = "\x1b[31mtwo: seen 90.0 s ago, 12 partitions, dead"
    assert (red in output(alive, dead), "nothing is counted" in output(alive, dead)) == (True, False)
    assert (red in output(dead), "none: nothing is counted" in output(dead)) == (True, True)
    assert "none: nothing is counted" in output()
    assert "dead" not in output(alive)


def test_rows_that_watch_does_not_read_are_left_out() -> None:
    def output(state: dict[str, Any]) -> str:
        screen = io.StringIO()
        Console(file=screen, width=100).print(_table(state))
        return screen.getvalue()

    whole = _state()
    assert "open conflicts" in output(whole)
    assert "detainer-declined unknown-jurisdiction: 3" in output(whole)
    watched = output({name: value for name, value in whole.items() if name != "rejects"})
    assert "open conflicts" not in watched
    assert "none" not in watched.partition("weeks")[0].partition("without worker")[2]
    assert "2017-01-21: refused: causes do not sum" in watched
    assert "3,555 read, 20 of them duplicates, 3 rejected" in watched


def test_each_condition_that_needs_an_operator_is_found() -> None:
    halted = _state()
    running: dict[str, Any] = {"halted_reason": None}
    fine = {**_state(refused={}), "partitions": [{**halted["partitions"][0], **running}]}
    assert not needs_operator(fine)
    signs: tuple[dict[str, Any], ...] = (
        {"workers": []},
        {"workers": [{**fine["workers"][0], "dead": True}]},
        {"publisher": None},
        {"publisher": {"age_seconds": 60.0, "dead": True}},
        {"refused": {"2017-01-21": "refused"}},
        {"partitions": halted["partitions"]},
        {"verifications": [{"week": "2017-01-21", "outcome": "detainer-issued/3/7: is not counted"}]},
        {"audit": {"at": "2017-02-05 05:00:00+00", "outcome": "detainer-issued/3: 9 records, 8 facts"}},
    )
    for sign in signs:
        assert needs_operator({**fine, **sign}), sign


def test_text_is_not_parsed_as_markup() -> None:
    screen = io.StringIO()
    halted = {**_state()["partitions"][0], "halted_reason": "PositionLost: the log holds [0, 7) :x: [red]no[/red]"}
    flags = [{"gate": "spike", "detail": "agency [demo]"}]
    held = {"week": "2017-01-28", "state": "held", "held_until": "soon [or] later", "held_because": flags}
    table = _table(_state(partitions=[halted], weeks=[held], refused={"2017-01-21": "refused: [a]"}))
    Console(file=screen, width=200).print(table)
    for text in ("[0, 7) :x: [red]no[/red]", "agency [demo]", "soon [or] later", "refused: [a]"):
        assert text in screen.getvalue()
