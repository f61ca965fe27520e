"""The panels of a dashboard, and Grafana's JSON model of them. Pure.

A board lists rows of panels; positions and ids follow from their order. Widths are in Grafana's grid of 24 columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

COLUMNS = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "bargauge", "table"]
Step = tuple[float | None, str]
"""The smallest value of a colour. The first one has None."""

GOOD_IS_ZERO: tuple[Step, ...] = ((None, "green"), (1, "red"))
PLAIN: tuple[Step, ...] = ((None, "blue"),)


class Query(NamedTuple):
    """An expression of PromQL and the legend of its series."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is a unit of Grafana; `runbooks` are pages in docs/runbooks, without `.md`.

    `limits` colours values, and draws lines in a graph if there is more than one step.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    limits: tuple[Step, ...] = PLAIN
    runbooks: Sequence[str] = ()
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None
    decimals: int | None = None

    def model(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel as Grafana's JSON, at this position."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": _DATASOURCE,
            "links": [_runbook(name) for name in self.runbooks],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _OPTIONS[self.kind],
            "targets": list(self._targets()),
            **({"transformations": _TABLE} if self.kind == "table" else {}),
        }

    def _defaults(self) -> dict[str, Any]:
        steps = [{"color": colour, "value": value} for value, colour in self.limits]
        bounds = {"min": self.minimum, "max": self.maximum, "decimals": self.decimals}
        return {
            "unit": self.unit,
            **{name: value for name, value in bounds.items() if value is not None},
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
            "custom": self._custom(),
        }

    def _custom(self) -> dict[str, Any]:
        if self.kind != "timeseries":
            return {}
        return {
            "lineWidth": 1,
            "fillOpacity": 30 if self.stacked else 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if len(self.limits) > 1 else "off"},
        }

    def _targets(self) -> Iterator[dict[str, Any]]:
        for number, query in enumerate(self.queries):
            yield {
                "refId": chr(ord("A") + number),
                "datasource": _DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend or "__auto",
                "instant": self.kind != "timeseries",
                "range": self.kind == "timeseries",
                "format": "table" if self.kind == "table" else "time_series",
            }


_REDUCE = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[Kind, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": _REDUCE, "colorMode": "value", "graphMode": "none", "textMode": "auto"},
    "bargauge": {"reduceOptions": _REDUCE, "displayMode": "basic", "orientation": "horizontal"},
    "table": {"showHeader": True, "cellHeight": "sm"},
}
_HIDDEN = ("Time", "__name__", "Value")
"""Columns that a table of labels does not need."""
_TABLE = [
    {
        "id": "organize",
        "options": {"excludeByName": dict.fromkeys(_HIDDEN, True), "indexByName": {}, "renameByName": {}},
    }
]


def _runbook(name: str) -> dict[str, Any]:
    return {"title": f"Runbook: {name}", "url": f"${{docs}}/runbooks/{name}.md", "targetBlank": True}


class Row(NamedTuple):
    """A heading and the panels below it, from left to right."""

    title: str
    panels: Sequence[Panel]


class Board(NamedTuple):
    """One dashboard. `job` is the service whose processes the variable `instance` lists; empty: no such variable."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    job: str = ""


def place(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """The models of all panels: each row below the previous one, broken where its panels exceed the grid."""
    number, y = 1, 0
    for row in rows:
        grid = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": grid, "panels": []}
        number, y, x, highest = number + 1, y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, highest = 0, y + highest, 0
            yield panel.model(number, x, y)
            number, x, highest = number + 1, x + panel.width, max(highest, panel.height)
        y += highest
