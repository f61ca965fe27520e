"""The metrics that the services declare, and the series and labels that they expose. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from services.runtime import metrics

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


class Family(NamedTuple):
    """One metric. `name` is that of the exposition, so a counter ends with `_total`."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> dict[str, set[str]]:
        """The names of its series, each with its labels."""
        base = self.name.removesuffix("_total") if self.type == "counter" else self.name
        return {
            base + suffix: {*self.labels, *(["le"] if suffix == "_bucket" else [])} for suffix in _SUFFIXES[self.type]
        }


def families() -> list[Family]:
    """All metrics of `services.runtime.metrics`, by name."""
    return sorted(_declared())


def _declared() -> Iterator[Family]:
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Family(name, family.type, tuple(metric._labelnames), family.documentation)


def exposed() -> dict[str, set[str]]:
    """Each series of a service, and its labels: those of `families`, and those of the client library."""
    series = {name: labels for family in families() for name, labels in family.series.items()}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.startswith(("process_", "python_")):
                series.setdefault(sample.name, set()).update(sample.labels)
    return series
