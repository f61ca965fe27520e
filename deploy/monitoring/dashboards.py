"""Writes the Grafana dashboards in deploy/grafana/dashboards.

`python -m deploy.monitoring.dashboards` writes the files, and `--check` compares them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.monitoring.boards import aggregator, ingest, overview, publisher
from deploy.monitoring.panels import Board, place
from services.runtime import generated

DIRECTORY = Path(__file__).parents[1] / "grafana" / "dashboards"
BOARDS = (overview.BOARD, ingest.BOARD, aggregator.BOARD, publisher.BOARD)


def model(board: Board) -> dict[str, Any]:
    """A dashboard as Grafana's JSON."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["ddor"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {"type": "dashboards", "title": "Dashboards", "tags": ["ddor"], "asDropdown": True, "includeVars": True,
             "keepTime": True},
            {"type": "link", "title": "Runbooks", "url": "${docs}/runbooks/README.md", "targetBlank": True},
            {"type": "link", "title": "Metrics", "url": "${docs}/metrics.md", "targetBlank": True},
        ],
        "annotations": {"list": [_firing()]},
        "templating": {"list": list(_variables(board))},
        "panels": list(place(board.rows)),
    }  # fmt: skip


def _firing() -> dict[str, Any]:
    return {
        "name": "Firing alerts",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "expr": 'ALERTS{alertstate="firing"}',
        "iconColor": "red",
        "titleFormat": "{{alertname}}",
        "tagKeys": "severity",
        "step": "60s",
    }


def _variables(board: Board) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "",
         "refresh": 1, "current": {}},
        {"name": "docs", "label": "Address of docs", "type": "textbox", "query": "/public/docs",
         "current": {"text": "/public/docs", "value": "/public/docs"}},
    ]  # fmt: skip
    if board.job:
        query = f'label_values(up{{job="{board.job}"}}, instance)'
        found.append(
            {"name": "instance", "label": "Instance", "type": "query", "multi": True, "includeAll": True,
             "allValue": ".*", "refresh": 2, "sort": 1, "query": {"query": query, "refId": "instance"},
             "definition": query, "datasource": {"type": "prometheus", "uid": "${datasource}"},
             "current": {"text": ["All"], "value": ["$__all"]}}
        )  # fmt: skip
    return found


def text(board: Board) -> str:
    """The contents of a dashboard's file."""
    return json.dumps(model(board), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the files; with `--check`, return 1 if one is out of date, missing or unknown."""
    wanted = {DIRECTORY / f"{board.uid.removeprefix('ddor-')}.json": text(board) for board in BOARDS}
    return generated.main(wanted, "python -m deploy.monitoring.dashboards", arguments, DIRECTORY.glob("*.json"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
