"""The expressions of the dashboards as Prometheus reads them, with Grafana's variables replaced. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


class Expression(NamedTuple):
    """One expression and the panel that it belongs to."""

    board: str
    panel: str
    text: str


def expressions(model: Mapping[str, Any]) -> Iterator[Expression]:
    """All expressions of a dashboard's JSON: of its panels, variables and annotations."""
    for panel in model["panels"]:
        for target in panel.get("targets", ()):
            yield Expression(model["title"], panel["title"], _replaced(target["expr"]))
    for annotation in model["annotations"]["list"]:
        yield Expression(model["title"], annotation["name"], _replaced(annotation["expr"]))
    for variable in model["templating"]["list"]:
        if variable["type"] == "query":
            series = variable["definition"].removeprefix("label_values(").rpartition(",")[0]
            yield Expression(model["title"], variable["name"], _replaced(series))


def _replaced(text: str) -> str:
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    return text
