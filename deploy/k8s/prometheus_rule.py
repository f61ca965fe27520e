"""The rules of deploy/prometheus as a PrometheusRule: python -m deploy.k8s.prometheus_rule

Kustomize cannot put a file into a field, so the result is committed. tests/contract/test_kubernetes.py compares them.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

RULES = tuple(Path(__file__).parents[1] / "prometheus" / name for name in ("alerts.yml", "slo.yml"))
RULE = Path(__file__).parent / "components" / "monitoring" / "prometheus-rule.yaml"

_HEAD = """\
# Written by `python -m deploy.k8s.prometheus_rule` from deploy/prometheus: change the rules there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: weekly-detainer-report
spec:
"""


def rule() -> str:
    """The document with the groups of all rules. Comments before the groups are left out."""
    groups = [path.read_text(encoding="utf-8").partition("groups:\n")[2] for path in RULES]
    return _HEAD + textwrap.indent("groups:\n" + "".join(groups), "  ")


def main() -> None:
    """Write the document."""
    RULE.write_text(rule(), encoding="utf-8")


if __name__ == "__main__":
    main()
