"""The states of a week: every move in the code is listed, and ARCHITECTURE.md lists the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import services.publisher
from services.publisher.closing import TRANSITIONS, WRITTEN, State
from services.publisher.snapshot import SQL

HERE = Path(services.publisher.__path__[0])
ROOT = HERE.parents[1]
FILES = sorted(HERE.glob("*.py"))


def literal(node: ast.expr) -> State | None:
    """The state that an expression names, None when it is known only when it runs."""
    text = ast.unparse(node)
    return State[text.removeprefix("State.")] if text.startswith("State.") else None


def moves() -> Iterator[tuple[str, State | None, State | None]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "move":
                yield f"{path.name}:{node.lineno}", literal(node.args[1]), literal(node.args[2])


@pytest.mark.parametrize(("place", "was", "now_in"), list(moves()))
def test_every_move_in_the_code_is_a_listed_transition(place: str, was: State | None, now_in: State | None) -> None:
    assert now_in is not None, "where a week goes stands in the code"
    assert [one for one, to in TRANSITIONS if to is now_in and was in (None, one)]


def test_every_listed_transition_has_a_move() -> None:
    found = list(moves())
    for was, now_in in TRANSITIONS:
        assert [place for place, one, to in found if to is now_in and one in (None, was)], (was, now_in)


def test_only_a_move_sets_a_state() -> None:
    """What writes a state by itself, because a constraint asks for it, is followed by its move."""
    sets = re.compile(r"(UPDATE week_close SET|INSERT INTO week_close \()[^;]*?\bstate\b(?! = 'held' AND)", re.DOTALL)
    writing = {name for name, text in SQL.items() if sets.search(text)} - {"set_state"}
    assert writing == {"set_barrier", "request_close", "hold", "restore_close"}
    used = "".join(path.read_text(encoding="utf-8") for path in FILES)
    assert used.count('SQL["set_state"]') == 1


def test_every_state_can_be_reached_and_only_the_last_is_an_end() -> None:
    reached, before = {State.OPEN}, set[State]()
    while reached != before:
        before = set(reached)
        reached |= {to for was, to in TRANSITIONS if was in reached}
    assert reached == set(State)
    assert {state for state in State if state not in {was for was, _ in TRANSITIONS}} == {State.FINAL}


def test_a_written_week_never_becomes_unwritten() -> None:
    assert not [(was, to) for was, to in TRANSITIONS if was in WRITTEN and to not in WRITTEN]


def test_the_architecture_lists_the_same_transitions() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("| from | to | why |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table.splitlines()]
    assert rows == [(str(was), str(to), why) for (was, to), why in TRANSITIONS.items()]
