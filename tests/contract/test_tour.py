"""docs/tour.md names functions that exist in the files it links to, and every relative link in the pages resolves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGES = sorted([*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md"), *(_ROOT / "schemas").rglob("*.md")])
_NAMED = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.(?:py|sql))\)", (_ROOT / "docs" / "tour.md").read_text("utf-8"))
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_COMMANDS = re.compile(r"python -m ([\w.]+)")


def _defined(path: Path) -> Iterator[str]:
    """Names of functions, classes and methods (`Class.method`), or of the statements of an SQL file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sql":
        yield from re.findall(r"^-- name: (\w+)", text, re.MULTILINE)
        return
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            yield from (f"{node.name}.{one.name}" for one in getattr(node, "body", ()) if hasattr(one, "name"))


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tour_names_functions() -> None:
    assert len(_NAMED) > 30


@pytest.mark.parametrize(("name", "path"), sorted(set(_NAMED)), ids=lambda value: value)
def test_a_function_of_the_tour_exists(name: str, path: str) -> None:
    assert name in set(_defined(_ROOT / path))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(_ROOT).as_posix())
def test_every_relative_link_resolves(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target, anchor in _LINK.findall(text):
        path = page.parent / target if target else page
        assert path.exists(), f"{target} does not exist"
        if anchor and path.suffix == ".md":
            assert anchor in _anchors(path), f"{target}#{anchor} has no heading"


def test_the_modules_of_the_commands_exist() -> None:
    for module in _COMMANDS.findall((_ROOT / "docs" / "tour.md").read_text(encoding="utf-8")):
        path = _ROOT / module.replace(".", "/")
        assert module == "pytest" or path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
