"""The Grafana dashboards are current, use only existing metrics and labels, and each panel is complete.

tests/system/test_monitoring.py evaluates their expressions.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring import dashboards
from deploy.monitoring.dashboards import BOARDS, DIRECTORY
from deploy.monitoring.expressions import Expression, expressions
from deploy.monitoring.families import exposed
from deploy.monitoring.panels import COLUMNS, Panel, Query, Row, place
from deploy.monitoring.rules import matched_labels, names, rules

_ROOT = Path(__file__).parents[2]
_FILES = sorted(DIRECTORY.glob("*.json"))
_MODELS: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in _FILES]
_EXPRESSIONS = [one for model in _MODELS for one in expressions(model)]
_PANELS = [(model["title"], panel) for model in _MODELS for panel in model["panels"] if panel["type"] != "row"]
_ADDED = {"job", "instance"}  # by Prometheus

each_expression = pytest.mark.parametrize("one", _EXPRESSIONS, ids=lambda one: f"{one.board}-{one.panel}")
each_panel = pytest.mark.parametrize(
    ("board", "panel"), _PANELS, ids=lambda value: value if isinstance(value, str) else value["title"]
)


def test_the_files_are_up_to_date() -> None:
    assert dashboards.main(["--check"]) == 0
    assert len(_FILES) == len(BOARDS) == len({model["uid"] for model in _MODELS})


def test_outdated_and_unknown_files_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards, "DIRECTORY", tmp_path)
    assert dashboards.main(["--check"]) == 1
    assert dashboards.main([]) == 0
    assert dashboards.main(["--check"]) == 0
    (tmp_path / "other.json").write_text("{}")
    assert dashboards.main(["--check"]) == 1


@each_expression
def test_an_expression_uses_only_existing_metrics_and_labels(one: Expression) -> None:
    known = exposed()
    for rule in rules():
        if not rule.alert:
            known.setdefault(rule.name, set()).update(rule.labels)
    known |= {"up": set(), "ALERTS": {"alertstate", "severity"}}
    used = names(one.text)
    assert used or "ALERTS" in one.text, "an expression without a metric"
    assert used <= known.keys()
    assert "$" not in one.text, "a variable without a value"
    for name, labels in matched_labels(one.text):
        assert labels <= known[name] | _ADDED, name
    of_metrics = set().union(*(known[name] for name in used)) | _ADDED
    for grouped in re.findall(r"\bby \(([^)]*)\)", one.text):
        assert {label.strip() for label in grouped.split(",")} <= of_metrics


@each_panel
def test_a_legend_uses_only_labels_of_its_expression(board: str, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert re.search(rf"\b{label}\b", target["expr"]) or label in _ADDED | _all_labels(target["expr"])


def _all_labels(expression: str) -> set[str]:
    return set().union(*(exposed().get(name, {"slo"}) for name in names(expression)))


@each_panel
def test_a_panel_has_a_description_a_unit_limits_and_existing_runbooks(board: str, panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    values = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert values[0] is None
    assert all(one < other for one, other in pairwise(values[1:]))
    assert panel["targets"]
    for link in panel["links"]:
        assert link["url"].startswith("${docs}/")
        assert (_ROOT / "docs" / link["url"].removeprefix("${docs}/")).is_file()


def test_each_alert_has_a_panel_that_links_to_its_runbook() -> None:
    linked = {link["url"].rpartition("/")[2] for _, panel in _PANELS for link in panel["links"]}
    assert {rule.annotations["runbook_url"].rpartition("/")[2] for rule in rules() if rule.alert} <= linked


@pytest.mark.parametrize("model", _MODELS, ids=lambda model: model["title"])
def test_panels_do_not_overlap(model: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in model["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= COLUMNS
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in model["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_a_row_is_broken_where_its_panels_exceed_the_grid() -> None:
    panels = [
        Panel("a", "A.", [Query("up")], width=width, height=height) for width, height in ((16, 5), (8, 8), (12, 4))
    ]
    models = list(place([Row("first", panels), Row("second", panels[:1])]))
    assert [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in models] == [
        (0, 0),
        (0, 1),
        (16, 1),
        (0, 9),
        (0, 13),
        (0, 14),
    ]


def test_the_provisioning_names_what_docker_compose_mounts() -> None:
    compose = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    grafana = compose["services"]["grafana"]
    mounted = {target: source for source, target, _ in (one.split(":") for one in grafana["volumes"])}
    assert all((_ROOT / source).is_dir() for source in mounted.values())
    provisioning = _ROOT / mounted["/etc/grafana/provisioning"]
    (provider,) = _read(provisioning / "dashboards" / "ddor.yml")["providers"]
    assert _ROOT / mounted[provider["options"]["path"]] == DIRECTORY
    (source,) = _read(provisioning / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:" + compose["services"]["prometheus"]["ports"][0].rpartition(":")[2]
    assert grafana["profiles"] == ["grafana"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DIRECTORY / Path(home).name).is_file()
    docs = next(one["query"] for one in _MODELS[0]["templating"]["list"] if one["name"] == "docs")
    assert mounted[f"/usr/share/grafana{docs}"] == "./docs"


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
