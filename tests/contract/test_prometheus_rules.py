"""Alerts, their tests and their runbooks agree; rules use only existing metrics and labels; docs/metrics.md is current.

`make alerts` checks the expressions themselves with promtool.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring import metrics_page
from deploy.monitoring.families import exposed, families
from deploy.monitoring.metrics_page import runbook
from deploy.monitoring.rules import PROMETHEUS, Rule, matched_labels, names, rules

_ROOT = Path(__file__).parents[2]
_RUNBOOKS = _ROOT / "docs" / "runbooks"
_SECTIONS = ["Symptom", "Meaning", "Check", "Fix", "Afterwards"]
_RULES = rules()
_RECORDED = {one.name for one in _RULES if not one.alert}


def _read(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))


def _identity(rule: Rule) -> str:
    return "-".join((rule.name, *rule.labels.values()))


_PAGES = sorted(page for page in _RUNBOOKS.glob("*.md") if page.name != "README.md")
all_rules = pytest.mark.parametrize("rule", _RULES, ids=_identity)
alerts = pytest.mark.parametrize("alert", [one for one in _RULES if one.alert], ids=_identity)


def test_the_metrics_of_the_contract_are_found() -> None:
    assert exposed()["ddor_ingest_events_total"] == {"kind", "outcome", "code"}
    assert "ddor_aggregator_batch_duration_seconds_bucket" in exposed()


def test_metrics_are_declared_in_one_module() -> None:
    users = [
        path.relative_to(_ROOT).as_posix()
        for path in (_ROOT / "services").rglob("*.py")
        if re.search(r"prometheus_client import .*\b(Counter|Gauge|Histogram|Summary)\b", path.read_text("utf-8"))
    ]
    assert users == ["services/runtime/metrics.py"]


@all_rules
def test_a_rule_uses_only_existing_metrics_and_labels(rule: Rule) -> None:
    known, used = exposed(), names(rule.expression)
    assert used, "an expression without a metric"
    assert used - {"up"} <= known.keys() | _RECORDED
    for name, labels in matched_labels(rule.expression):
        assert labels <= known.get(name, {"slo", "job"}), name


def test_the_names_of_expressions_are_found() -> None:
    expression = 'sum by (kind) (rate(ddor_a_total{kind=~"x"}[5m])) / slo:errors:b{slo="c"} unless up{job="d"} == 0'
    assert names(expression) == {"ddor_a_total", "slo:errors:b", "up"}
    assert dict(matched_labels(expression)) == {"ddor_a_total": {"kind"}, "slo:errors:b": {"slo"}, "up": {"job"}}


@alerts
def test_an_alert_has_a_severity_a_description_and_a_runbook(alert: Rule) -> None:
    assert alert.labels in ({"severity": "page"}, {"severity": "ticket"})
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == f"docs/runbooks/{runbook(alert.name)}"
    assert (_RUNBOOKS / runbook(alert.name)).is_file()


@alerts
def test_an_alert_is_tested_to_fire_and_not_to_fire(alert: Rule) -> None:
    expected = [
        any(one["exp_labels"]["severity"] == alert.labels["severity"] for one in case["exp_alerts"])
        for file in ("alerts_test.yml", "slo_test.yml")
        for test in _read(file)["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == alert.name
    ]
    assert set(expected) == {True, False}


def test_the_page_of_metrics_is_up_to_date_and_has_each_metric_once() -> None:
    assert metrics_page.main(["--check"]) == 0
    assert re.findall(r"^\| `(ddor_\w+)` \|", metrics_page.page(), re.MULTILINE) == [one.name for one in families()]


def test_the_page_of_metrics_names_alerts_that_read_a_recorded_series() -> None:
    (row,) = [
        one for one in metrics_page.page().splitlines() if one.startswith("| `ddor_aggregator_late_records_total`")
    ]
    assert "[CountedLate](runbooks/counted-late.md)" in row


def test_an_outdated_page_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_page, "PAGE", tmp_path / "metrics.md")
    assert metrics_page.main(["--check"]) == 1
    assert metrics_page.main([]) == 0
    assert metrics_page.main(["--check"]) == 0


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_a_runbook_has_the_five_sections_and_is_in_the_index(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == _SECTIONS
    assert f"]({page.name})" in (_RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([\w./-]+\.md)\)", text):
        assert (_RUNBOOKS / link).is_file(), link


def test_the_index_says_which_runbooks_have_an_alert() -> None:
    """Runbooks without one describe an error, a state or a task; all others say how urgent the alert is."""
    rows = re.findall(
        r"^\| \[[\w-]+\]\(([\w-]+\.md)\) \| ([^|]+) \|", (_RUNBOOKS / "README.md").read_text("utf-8"), re.M
    )
    severities: dict[str, set[str]] = {page.name: set() for page in _PAGES}
    for rule in _RULES:
        if rule.alert:
            severities[runbook(rule.name)].add(rule.labels["severity"])
    assert {name for name, _ in rows} == set(severities)
    for name, kind in rows:
        if severities[name]:
            assert set(kind.split(", ")) == severities[name], name
        else:
            assert kind in ("error", "state", "task"), name


_NAMED = ["PositionLost", "LogLost", "RecoveryNeeded", "DigestConflict", "UnreadableAnnouncement", "OpenTransaction"]


@pytest.mark.parametrize("error", _NAMED)
def test_an_error_that_stops_processing_has_a_runbook(error: str) -> None:
    assert (_RUNBOOKS / runbook(error)).is_file()


def test_each_runbook_that_a_message_names_exists() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (_ROOT / "services").rglob("*.py")]
    joined = [re.sub(r'"\s+f?"', "", text) for text in texts]  # a message may continue on the next line
    named = {name for text in joined for name in re.findall(r"\brunbook ([a-z]+(?:-[a-z]+)+)\b", text)}
    assert named >= {"clock-skew", "read-only-database"}
    assert {name for name in named if not (_RUNBOOKS / f"{name}.md").is_file()} == set()


def test_each_service_is_scraped_under_its_own_name() -> None:
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in _read("prometheus.yml")["scrape_configs"]}
    assert jobs == {
        "ingest": ["ingest:8081"],
        "aggregator": ["aggregator:8082"],
        "publisher": ["publisher:8083"],
    }
