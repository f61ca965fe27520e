"""Generates docs/metrics.md and the Grafana dashboards. Pure, except for the two modules that write files."""
