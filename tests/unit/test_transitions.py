"""The states of a week: TRANSITIONS lists every transition in the code, and ARCHITECTURE.md has the same list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import services.publisher
from services.publisher.closing import TRANSITIONS, WRITTEN, State
from services.publisher.queries import SQL

HERE = Path(services.publisher.__path__[0])
ROOT = HERE.parents[1]
FILES = sorted(HERE.glob("*.py"))


def literal(node: ast.expr) -> State | None:
    """The state that an expression names, or None if it is known only at run time."""
    text = ast.unparse(node)
    return State[text.removeprefix("State.")] if text.startswith("State.") else None


def _is_move(call: ast.Call) -> bool:
    """Whether a call changes a state: `move`, or `_record` outside of `move`, where the new state is a literal."""
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr == "move" or (call.func.attr == "_record" and literal(call.args[2]) is not None)


def moves() -> Iterator[tuple[str, State | None, State | None]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_move(node):
                yield f"{path.name}:{node.lineno}", literal(node.args[1]), literal(node.args[2])


@pytest.mark.parametrize(("source", "was", "becomes"), list(moves()))
def test_every_transition_in_the_code_is_listed(source: str, was: State | None, becomes: State | None) -> None:
    assert becomes is not None, "the new state is a literal"
    assert [one for one, to in TRANSITIONS if to is becomes and was in (None, one)]


def test_every_listed_transition_is_in_the_code() -> None:
    found = list(moves())
    for was, becomes in TRANSITIONS:
        assert [source for source, one, to in found if to is becomes and one in (None, was)], (was, becomes)


def test_only_transitions_set_a_state() -> None:
    """Other statements write a state only where a constraint requires it; a transition follows."""
    sets = re.compile(r"(UPDATE week_close SET|INSERT INTO week_close \()[^;]*?\bstate\b(?! = 'held' AND)", re.DOTALL)
    writing = {name for name, text in SQL.items() if sets.search(text)} - {"set_state"}
    assert writing == {"set_barrier", "request_close", "hold", "restore_close"}
    used = "".join(path.read_text(encoding="utf-8") for path in FILES)
    assert used.count('SQL["set_state"]') == 1


def test_every_state_is_reachable_and_only_the_last_is_terminal() -> None:
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
