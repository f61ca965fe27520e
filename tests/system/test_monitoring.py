"""Prometheus scrapes the real services: every rule and every expression of the dashboards can be evaluated.

Skipped by name without Prometheus.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from deploy.monitoring.dashboards import DIRECTORY
from deploy.monitoring.expressions import expressions
from deploy.monitoring.families import families
from deploy.monitoring.rules import rules
from tests.support import kafka_log, prometheus
from tests.support.prometheus import Server
from tests.support.stacks import looking
from tests.support.waiting import until

pytestmark = prometheus.needs("prometheus")

FIGURES = Path(__file__).parents[2] / "deploy" / "demo" / "2017-01-28.csv"
EVENTS = 3_555

_EMPTY_IF_HEALTHY = {
    "Certificates",  # this stack has none
    "Firing alerts",  # the annotation; the panel of this name has the value 0
    "Refused events by code, last hour",
}


@pytest.fixture
async def monitored(system: Stack, own_kafka: KafkaPart, empty_database: str, tmp_path: Path) -> AsyncIterator[Server]:
    """Prometheus, which has seen the services before and after they counted and published the first report's week."""
    with prometheus.scraping(tmp_path, {name: one.port for name, one in system.services.items()}) as server:
        await _is(server, "sum(up)", 3)
        await _is(server, "sum(rate(ddor_ingest_store_duration_seconds_count[5m]))", 0)
        arguments = ("--profile", "acceptance-week", "--dataset", "first-report", "--journal", str(tmp_path / "once"))
        system.run("import", str(FIGURES), *arguments)
        async with looking(empty_database) as connection:
            await kafka_log.counted(connection, own_kafka.bootstrap)
        system.run("close", "2017-01-28")
        await _is(server, 'sum(ddor_ingest_events_total{outcome="accepted"})', EVENTS)
        await _is(server, "sum(ddor_aggregator_records_total)", EVENTS)
        await _is(server, 'sum(ddor_publisher_week_state{state="published"})', 1)
        await _is_above_zero(server, "sum(rate(ddor_aggregator_records_total[5m]))")
        await _is_above_zero(server, 'count(slo:errors:ratio_rate5m{slo="acknowledged"} >= 0)')
        yield server


async def _is(server: Server, expression: str, wanted: float) -> None:
    async def found() -> bool:
        return _values(server.query(expression)) == [wanted]

    await until(found, f"{expression} = {wanted}")


async def _is_above_zero(server: Server, expression: str) -> None:
    async def found() -> bool:
        return any(value > 0 for value in _values(server.query(expression)))

    await until(found, f"{expression} > 0")


def _values(result: list[dict[str, Any]]) -> list[float]:
    return [float(one["value"][1]) for one in result]


async def test_what_operators_see(monitored: Server, system: Stack) -> None:
    _each_service_exposes_the_metrics_of_the_page(system)
    await _each_rule_is_evaluated(monitored)
    _each_panel_has_a_value(monitored)
    _the_figures_are_right(monitored)


def _each_service_exposes_the_metrics_of_the_page(system: Stack) -> None:
    declared = {(one.name.removesuffix("_total"), one.type, one.meaning) for one in families()}
    for service in system.services.values():
        text = httpx.get(f"{service.url}/metrics", trust_env=False).text
        found = {(one.name, one.type, one.documentation) for one in text_string_to_metric_families(text)}
        ours = {one for one in found if one[0].startswith("ddor_") and not one[0].endswith("_created")}
        assert ours == declared, service.name


async def _each_rule_is_evaluated(server: Server) -> None:
    async def health() -> bool:
        found = [rule for group in server.get("/rules")["groups"] for rule in group["rules"]]
        assert [rule["lastError"] for rule in found if rule.get("lastError")] == []
        return len(found) == len(rules()) and {rule["health"] for rule in found} == {"ok"}

    await until(health, "each rule evaluated")
    for rule in rules():
        server.query(rule.expression)


def _each_panel_has_a_value(server: Server) -> None:
    empty = []
    for path in sorted(DIRECTORY.glob("*.json")):
        for one in expressions(json.loads(path.read_text(encoding="utf-8"))):
            values = _values(server.query(one.text))
            if one.panel not in _EMPTY_IF_HEALTHY and not any(math.isfinite(value) for value in values):
                empty.append(f"{one.board}, {one.panel}: {one.text} gives {values}")
    assert not empty, "\n".join(empty)


def _the_figures_are_right(server: Server) -> None:
    def value(expression: str) -> float:
        (found,) = _values(server.query(expression))
        return found

    batches = value("sum(ddor_aggregator_batch_records_count)")
    assert value("sum(ddor_aggregator_count_delay_seconds_count)") == batches > 0
    assert value("max(ddor_aggregator_lag_records)") == 0
    assert value("slo:week_overdue:bool") == 0, "the first week of the calendar is in 2030"
    assert value('sum(ddor_ingest_store_duration_seconds_count{outcome="final"})') > 0
    assert value('sum(ddor_ingest_store_duration_seconds_count{outcome="unavailable"})') == 0
    assert 0 <= value('slo:errors:ratio_rate5m{slo="acknowledged"}') <= 1
    assert 0 <= value('slo:errors:ratio_rate5m{slo="counted"}') <= 1
