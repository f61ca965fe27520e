"""Alerts, their tests and their runbooks agree, and use only existing metrics and labels.

`make alerts` checks the expressions themselves with promtool.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from services.runtime import metrics

_ROOT = Path(__file__).parents[2]
_PROMETHEUS = _ROOT / "deploy" / "prometheus"
_RUNBOOKS = _ROOT / "docs" / "runbooks"
_SECTIONS = ["Symptom", "Meaning", "Check", "Fix", "Afterwards"]
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def _read(name: str) -> Any:
    return yaml.safe_load((_PROMETHEUS / name).read_text(encoding="utf-8"))


_ALERTS: dict[str, Any] = {rule["alert"]: rule for group in _read("alerts.yml")["groups"] for rule in group["rules"]}
_PAGES = sorted(page for page in _RUNBOOKS.glob("*.md") if page.name != "README.md")
alerts = pytest.mark.parametrize("alert", _ALERTS.values(), ids=_ALERTS.keys())


def _exposed() -> dict[str, set[str]]:
    """Each series that the services expose, and its labels."""
    series: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            for suffix in _SUFFIXES[family.type]:
                series[family.name + suffix] = {*metric._labelnames, *(["le"] if suffix == "_bucket" else [])}
    return series


def _page(alert_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", alert_name).lower() + ".md"


def test_the_metrics_of_the_contract_are_found() -> None:
    assert _exposed()["ddor_ingest_events_total"] == {"kind", "outcome", "code"}
    assert "ddor_aggregator_batch_duration_seconds_bucket" in _exposed()


@alerts
def test_an_alert_uses_only_existing_metrics_and_labels(alert: dict[str, Any]) -> None:
    exposed = _exposed()
    names = re.findall(r"\b(?:ddor_\w+|up)\b", alert["expr"])
    assert names, "an expression without a metric"
    assert set(names) - {"up"} <= exposed.keys()
    for name, matchers in re.findall(r"\b(ddor_\w+)\{([^}]*)\}", alert["expr"]):
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= exposed[name]


@alerts
def test_an_alert_has_a_severity_a_description_and_a_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{_page(alert['alert'])}"
    assert (_RUNBOOKS / _page(alert["alert"])).is_file()


@alerts
def test_an_alert_is_tested_to_fire_and_not_to_fire(alert: dict[str, Any]) -> None:
    expected = [
        bool(case["exp_alerts"])
        for test in _read("alerts_test.yml")["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert["alert"]
    ]
    assert set(expected) == {True, False}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_a_runbook_has_the_five_sections_and_is_in_the_index(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == _SECTIONS
    assert f"]({page.name})" in (_RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([\w./-]+\.md)\)", text):
        assert (_RUNBOOKS / link).is_file(), link


_NAMED = ["PositionLost", "LogLost", "RecoveryNeeded", "DigestConflict", "UnreadableAnnouncement", "OpenTransaction"]


@pytest.mark.parametrize("error", _NAMED)
def test_an_error_that_stops_processing_has_a_runbook(error: str) -> None:
    assert (_RUNBOOKS / _page(error)).is_file()


def test_each_service_is_scraped_under_its_own_name() -> None:
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in _read("prometheus.yml")["scrape_configs"]}
    assert jobs == {
        "ingest": ["ingest:8081"],
        "aggregator": ["aggregator:8082"],
        "publisher": ["publisher:8083"],
    }
