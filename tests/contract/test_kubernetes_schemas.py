"""deploy/k8s against the schemas of Kubernetes, of the oldest supported version and of a recent one.

The operators' own kinds are checked against their CustomResourceDefinitions if the variable KUBERNETES_CRDS names a
directory with them; docs/kubernetes.md names those that were used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.manifests import BASE, RENDERED, Document, documents

_VERSIONS = ("1.30", "1.37")
"""`preStop.sleep` needs 1.30."""
_OPERATORS = {
    *("Kafka", "KafkaNodePool", "KafkaUser", "Cluster"),
    *("ScaledObject", "PodMonitor", "PrometheusRule"),
}
everywhere = pytest.mark.parametrize("name", [BASE, *RENDERED])


@everywhere
@pytest.mark.parametrize("version", _VERSIONS)
def test_documents_are_valid(name: str, version: str) -> None:
    checked = [one for one in documents(name) if one["kind"] not in _OPERATORS]
    assert len(checked) > 15
    for one in checked:
        assert kubernetes_validate.validate(one, version, strict=True) == version


def test_an_unknown_field_is_an_error() -> None:
    (one, *_) = documents(BASE)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**one, "replicsa": 2}, _VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", RENDERED)
def test_documents_of_the_operators_match_their_definitions(name: str) -> None:
    schemas = _definitions()
    for one in documents(name):
        if one["kind"] in _OPERATORS:
            jsonschema.Draft7Validator(schemas[one["apiVersion"], one["kind"]]).validate(one)


@cache
def _definitions() -> dict[tuple[str, str], Any]:
    """The schemas by API version and kind. Skips the test if there are none."""
    directory = os.environ.get("KUBERNETES_CRDS")
    if not directory:
        pytest.skip("KUBERNETES_CRDS names no directory with CustomResourceDefinitions: syntax only")
    return dict(_schemas(Path(directory)))


def _schemas(directory: Path) -> Iterator[tuple[tuple[str, str], Any]]:
    for path in sorted(directory.glob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            for version in one["spec"]["versions"] if one else ():
                key = f"{one['spec']['group']}/{version['name']}", one["spec"]["names"]["kind"]
                schema = _strict(version["schema"]["openAPIV3Schema"])
                # The server itself defines these fields for every kind.
                schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
                yield key, schema


def _strict(schema: Document) -> Document:
    """The schema without unknown fields, which a server would drop with a warning."""
    result: Document = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: _strict(one) for name, one in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = _strict(value)
        else:
            result[key] = value
    if "properties" in result and not result.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if result.pop("x-kubernetes-int-or-string", False):
        result.pop("type", None)
    return result
