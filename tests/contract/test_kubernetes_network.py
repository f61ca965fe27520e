"""The network of deploy/k8s: which pods reach which, and which paths are public."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.runtime.settings import Settings
from tests.support.manifests import ALL, BASE, RENDERED, Document, container, documents, of_kind, pods

_OPENAPI = Path(__file__).parents[2] / "docs" / "openapi"
_PRIVATE = {"/livez", "/readyz", "/metrics"}
_PREFIX = "weekly-detainer-report/"
_SERVERS = {_PREFIX + "kafka-client": 9093, _PREFIX + "postgres-client": 5432}

everywhere = pytest.mark.parametrize("name", [BASE, *RENDERED])
rendered = pytest.mark.parametrize("name", RENDERED)


def _selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector selects these labels. Any operator but In is an error."""
    same = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    listed = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in listed)
    return same and all(labels.get(one["key"]) in one["values"] for one in listed)


def _policies(name: str, pod: Document, direction: str) -> list[Document]:
    """The network policies that apply to a pod in a direction."""
    return [
        one["spec"]
        for one in of_kind(documents(name), "NetworkPolicy").values()
        if direction in one["spec"]["policyTypes"] and _selects(one["spec"]["podSelector"], pod["metadata"]["labels"])
    ]


def _ports(rules: list[Document]) -> set[Any]:
    return {port["port"] for rule in rules for port in rule.get("ports", [{"port": "all"}])}


@rendered
def test_nothing_is_permitted_by_default(name: str) -> None:
    for pod in pods(documents(name)).values():
        for direction in ("Ingress", "Egress"):
            key = direction.lower()
            assert any(not policy.get(key) for policy in _policies(name, pod, direction)), "no policy denies by default"


@rendered
def test_each_pod_reaches_exactly_the_servers_that_it_uses(name: str) -> None:
    settings = [
        one["data"] for key, one in of_kind(documents(name), "ConfigMap").items() if key.startswith("ddor-settings")
    ]
    collector = {urlsplit(one["DDOR_OTLP_ENDPOINT"]).port for one in settings if "DDOR_OTLP_ENDPOINT" in one}
    assert bool(collector) == ("all components" in name)
    for key, pod in pods(documents(name)).items():
        rules = [rule for policy in _policies(name, pod, "Egress") for rule in policy.get("egress", [])]
        assert all(rule["to"] for rule in rules), "an empty list permits every address"
        expected = {port for label, port in _SERVERS.items() if pod["metadata"]["labels"].get(label) == "true"}
        traced = collector if key in ("ingest", "aggregator", "publisher") else set()
        assert _ports(rules) == {53, *expected, *traced}


@everywhere
def test_the_labels_of_clients_match_what_they_are_given(name: str) -> None:
    for key, pod in pods(documents(name)).items():
        variables = {one["name"] for one in container(pod).get("env", [])}
        labels = pod["metadata"]["labels"]
        assert (labels.get(_PREFIX + "postgres-client") == "true") == ("DDOR_POSTGRES_DSN_FILE" in variables)
        assert (labels.get(_PREFIX + "kafka-client") == "true") == (key != "migrate")
        if name != BASE:
            assert ("DDOR_KAFKA_SASL_PASSWORD_FILE" in variables) == (key != "migrate")
    assert not {"DDOR_POSTGRES_DSN_FILE"} & {one["name"] for one in container(pods(documents(name))["ingest"])["env"]}


@rendered
def test_each_policy_selects_a_pod(name: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(documents(name)).values()]
    # Pods that the operators of Kafka and PostgreSQL create.
    labels += [{"cnpg.io/cluster": key} for key in of_kind(documents(name), "Cluster")]
    for key, policy in of_kind(documents(name), "NetworkPolicy").items():
        assert any(_selects(policy["spec"]["podSelector"], one) for one in labels), f"{key} selects no pod"


@rendered
def test_only_the_proxy_and_prometheus_reach_the_services(name: str) -> None:
    namespaces = {"ingress-nginx", "monitoring"} if name.endswith(ALL) else {"ingress-nginx"}
    for key, pod in pods(documents(name)).items():
        rules = [rule for policy in _policies(name, pod, "Ingress") for rule in policy.get("ingress", [])]
        sources = {
            source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for rule in rules
            for source in rule["from"]
        }
        expected = namespaces if key in ("ingest", "publisher") else namespaces - {"ingress-nginx"}
        assert sources == (expected if key in ("ingest", "aggregator", "publisher") else set())
        assert _ports(rules) <= {"http"}


@rendered
def test_the_addresses_of_kafka_and_postgresql_are_those_of_the_operators(name: str) -> None:
    found = documents(name)
    kafka, postgres = of_kind(found, "Kafka"), of_kind(found, "Cluster")
    assert bool(kafka) == bool(postgres) == name.startswith("cluster")
    if not kafka:
        return
    ((cluster, spec),) = kafka.items()
    (user,) = of_kind(found, "KafkaUser")
    (database,) = postgres
    (config,) = of_kind(found, "ConfigMap").values()
    assert config["data"]["DDOR_KAFKA_BOOTSTRAP"] == f"{cluster}-kafka-bootstrap:9093"
    assert [one["port"] for one in spec["spec"]["kafka"]["listeners"]] == [9093]
    for pod in pods(found).values():
        secrets = {one["name"]: one["secret"] for one in pod["spec"]["volumes"] if "secret" in one}
        assert secrets.get("kafka-login", {"secretName": user})["secretName"] == user
        assert secrets.get("kafka-ca", {"secretName": f"{cluster}-cluster-ca-cert"})["secretName"] == (
            f"{cluster}-cluster-ca-cert"
        )
        created = {"secretName": f"{database}-app", "items": [{"key": "uri", "path": "dsn"}], "defaultMode": 0o440}
        assert secrets.get("postgres", created) == created


@everywhere
def test_a_service_leads_to_the_port_of_its_pods(name: str) -> None:
    services = of_kind(documents(name), "Service")
    assert services.keys() == {"ingest", "publisher"}
    for key, service in services.items():
        assert service["spec"]["selector"] == {"app.kubernetes.io/name": key}
        port = Settings.model_fields[f"{key}_port"].default
        assert service["spec"]["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]


@everywhere
@pytest.mark.parametrize("service", ["ingest", "publisher"])
def test_the_public_paths_are_those_of_the_interface(name: str, service: str) -> None:
    """A new route needs a line in deploy/k8s/base/ingress.yaml."""
    paths = set(json.loads((_OPENAPI / f"{service}.json").read_text(encoding="utf-8"))["paths"])
    (rule,) = of_kind(documents(name), "Ingress")[service]["spec"]["rules"]
    public = [(one["path"], one["pathType"]) for one in rule["http"]["paths"]]
    for path in {*paths, "/openapi.json", "/docs"} - _PRIVATE:
        assert any(_leads(path, *one) for one in public), f"{path} is not in the Ingress"
    for path in {*_PRIVATE, "/desk"}:
        assert not any(_leads(path, *one) for one in public), f"{path} is public"


def _leads(path: str, public: str, kind: str) -> bool:
    """Whether an entry of an Ingress includes a path: Prefix compares whole segments."""
    return path == public or (kind == "Prefix" and path.startswith(public.rstrip("/") + "/"))
