"""docs/threat-model.md names existing files, settings and tests, and some controls that no other test covers."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main

from services.cli.main import command
from services.runtime.settings import Settings

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
_STRIDE = (
    "Spoofing",
    "Tampering",
    "Repudiation",
    "Information disclosure",
    "Denial of service",
    "Elevation of privilege",
)
_SECRET = re.compile(r"key|secret|password|token|dsn|credential", re.IGNORECASE)


class Threat(NamedTuple):
    """A row: the threat, and what its columns quote."""

    text: str
    controls: list[str]
    tests: list[str]


def _threats(section: str) -> list[Threat]:
    text = _PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    return [Threat(row[0], re.findall(r"`([^`]+)`", row[2]), re.findall(r"`([^`]+)`", row[3])) for row in rows]


_THREATS = [threat for section in _STRIDE for threat in _threats(section)]


@cache
def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("section", _STRIDE)
def test_each_letter_of_stride_has_threats(section: str) -> None:
    assert len(_threats(section)) >= 3


@pytest.mark.parametrize("threat", _THREATS, ids=lambda threat: threat.text[:40])
def test_a_threat_has_controls_and_tests_that_exist(threat: Threat) -> None:
    assert threat.controls
    for control in threat.controls:
        is_setting = control.removeprefix("DDOR_").lower() in Settings.model_fields and control.startswith("DDOR_")
        assert is_setting or (_ROOT / control).is_file(), control
    assert threat.tests
    for test in threat.tests:
        path, _, name = test.partition("::")
        assert name.startswith("test_"), test
        assert name in _functions(_ROOT / path), test


def test_every_requirement_is_pinned_with_a_hash() -> None:
    for file in (_ROOT / "requirements").glob("*.txt"):
        text = re.sub(r"\\\n\s*", "", file.read_text(encoding="utf-8"))
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        assert lines, file.name
        for line in lines:
            assert re.match(r"[\w.\-\[\],]+==\S+", line), (file.name, line[:60])
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), (file.name, line[:60])


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Other users of a machine can read the arguments of its processes."""
    seen = 0
    waiting = [typer.main.get_command(command(None))]
    while waiting:
        one = waiting.pop()
        waiting += getattr(one, "commands", {}).values()
        for parameter in one.params:
            seen += 1
            takes_a_value = not getattr(parameter, "is_flag", False)
            names = [parameter.name or "", *parameter.opts]
            assert not (takes_a_value and any(_SECRET.search(name) for name in names)), (one.name, names)
    assert seen > 40
