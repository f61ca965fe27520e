"""docs/testing.md names every test that `make test` leaves to `make check`, and why."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_TESTS = Path(__file__).parents[1]
_ROW = re.compile(r"^\| `(\w+/test_\w+\.py)` \| ([^|]+?) \|$", re.MULTILINE)


def _long(path: Path) -> Iterator[str]:
    """The reasons of a file's `pytest.mark.long(reason)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.long":
            yield ast.literal_eval(node.args[0])


def test_the_list_has_exactly_the_long_tests_with_their_reasons() -> None:
    marked = {
        (f"{path.parent.name}/{path.name}", reason) for path in _TESTS.rglob("test_*.py") for reason in _long(path)
    }
    listed = set(_ROW.findall((_TESTS.parent / "docs" / "testing.md").read_text(encoding="utf-8")))
    assert listed == marked
    assert marked
