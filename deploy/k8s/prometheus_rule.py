"""The alerts of deploy/prometheus/alerts.yml as a PrometheusRule: python -m deploy.k8s.prometheus_rule

Kustomize cannot put a file into a field, so the result is committed. tests/contract/test_kubernetes.py compares them.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

ALERTS = Path(__file__).parents[1] / "prometheus" / "alerts.yml"
RULE = Path(__file__).parent / "components" / "monitoring" / "prometheus-rule.yaml"

_HEAD = """\
# Written by `python -m deploy.k8s.prometheus_rule` from deploy/prometheus/alerts.yml: change the alerts there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: weekly-detainer-report
spec:
"""


def rule(alerts: str) -> str:
    """The document with the groups of `alerts`, a rules file of Prometheus. Comments before the groups are left out."""
    _, key, groups = alerts.partition("groups:\n")
    return _HEAD + textwrap.indent(key + groups, "  ")


def main() -> None:
    """Write the document."""
    RULE.write_text(rule(ALERTS.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
