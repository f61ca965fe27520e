"""The rules of Prometheus in deploy/prometheus, and the names in their expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PROMETHEUS = Path(__file__).parents[1] / "prometheus"

_NAME = re.compile(r"(?<![\w:$\"./-])(?:ddor_\w+|process_\w+|python_\w+|up|slo:[\w:]+)(?![\w:(])")
_MATCHERS = re.compile(r"(?<![\w:$\"])((?:ddor_|process_|python_|slo:)[\w:]+|up)\{([^}]*)\}")


class Rule(NamedTuple):
    """One rule. `name` is that of the alert, or of the recorded series. `labels` are those that it adds."""

    name: str
    expression: str
    alert: bool
    labels: dict[str, str]
    annotations: dict[str, str]


def rules() -> list[Rule]:
    """All rules, in the order of prometheus.yml."""
    return list(_rules())


def _rules() -> Iterator[Rule]:
    for file in _read("prometheus.yml")["rule_files"]:
        for group in _read(file)["groups"]:
            for one in group["rules"]:
                name = one.get("alert") or one["record"]
                yield Rule(name, one["expr"], "alert" in one, one.get("labels", {}), one.get("annotations", {}))


def _read(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))


def names(expression: str) -> set[str]:
    """The series that an expression reads."""
    return set(_NAME.findall(re.sub(r"#.*", "", expression)))


def matched_labels(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each selector with braces: the series, and the labels that it matches."""
    for name, matchers in _MATCHERS.findall(expression):
        yield name, set(re.findall(r"(\w+)\s*[=!]", matchers))


def alerts_by_series(all_rules: list[Rule]) -> dict[str, list[str]]:
    """The alerts that read a series, also through recorded series, in alphabetical order."""
    recorded: dict[str, set[str]] = {}
    for rule in all_rules:
        if not rule.alert:
            recorded.setdefault(rule.name, set()).update(names(rule.expression))
    found: dict[str, set[str]] = {}
    for rule in all_rules:
        if rule.alert:
            for name in names(rule.expression):
                for series in recorded.get(name, {name}):
                    found.setdefault(series, set()).add(rule.name)
    return {series: sorted(alerts) for series, alerts in found.items()}
