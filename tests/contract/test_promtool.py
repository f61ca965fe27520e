"""promtool parses each expression of the dashboards, and the rules. Skipped by name without promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from deploy.monitoring.dashboards import DIRECTORY
from deploy.monitoring.expressions import expressions
from deploy.monitoring.rules import PROMETHEUS
from tests.support.prometheus import needs, program

pytestmark = needs("promtool")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)


def _rules(directory: Path, found: list[str]) -> str:
    rules = [{"record": f"test:expression:{number}", "expr": text} for number, text in enumerate(found)]
    path = directory / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}), encoding="utf-8")
    return str(path)


def test_each_expression_of_a_dashboard_is_promql(tmp_path: Path) -> None:
    models = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))]
    found = [one.text for model in models for one in expressions(model)]
    done = _run("check", "rules", _rules(tmp_path, found))
    assert done.returncode == 0, done.stderr
    assert f"{len(found)} rules found" in done.stdout


def test_a_wrong_expression_is_found(tmp_path: Path) -> None:
    assert _run("check", "rules", _rules(tmp_path, ["sum by (le (up)"])).returncode != 0


def test_the_configuration_names_valid_rules() -> None:
    done = _run("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert done.returncode == 0, done.stderr
