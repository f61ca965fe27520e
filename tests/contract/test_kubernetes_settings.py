"""deploy/k8s: settings, secrets, image, alerts, autoscaling and proxies agree with the code and the documentation."""

from __future__ import annotations

import os
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.k8s import prometheus_rule
from schemas.topics import EVENT_TOPICS
from services.ingest.stream.windows import LINE_SECONDS
from services.runtime import metrics, settings
from services.runtime.connection_limits import TOTAL
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings
from tests.support.manifests import BASE, K8S, OVERLAYS, RENDERED, container, documents, of_kind, pods, render

_ROOT = Path(__file__).parents[2]

everywhere = pytest.mark.parametrize("name", [BASE, *RENDERED])
rendered = pytest.mark.parametrize("name", RENDERED)
overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def _known() -> set[str]:
    names = {f"DDOR_{name.upper()}" for name in Settings.model_fields}
    return names | {f"DDOR_{name.upper()}_FILE" for name in settings._SECRETS}


def _env(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in container(pod).get("env", [])}


@everywhere
def test_each_variable_is_a_setting_and_no_secret_is_a_value(name: str) -> None:
    for pod in pods(documents(name)).values():
        variables = _env(pod)
        assert variables.keys() <= _known()
        for key, one in variables.items():
            assert not re.search("PASSWORD$|DSN$|KEY$", key), "secrets are files"
            if key.endswith("_FILE") or key.endswith("CAFILE"):
                mounts = [mount["mountPath"] for mount in container(pod)["volumeMounts"]]
                assert str(Path(one["value"]).parent) in mounts
        (source,) = container(pod)["envFrom"]
        assert source["configMapRef"]["name"].startswith("ddor-settings")


@rendered
def test_the_settings_are_valid_for_each_service(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config,) = of_kind(documents(name), "ConfigMap").values()
    assert config["data"].keys() <= _known()
    assert config["data"]["DDOR_FIRST_WEEK"] == "", "the operator must set it"
    for pod in pods(documents(name)).values():
        assert container(pod)["envFrom"][0]["configMapRef"]["name"] == config["metadata"]["name"]
        with monkeypatch.context() as patch:
            patch.setenv("DDOR_KAFKA_BOOTSTRAP", "overwritten:1")
            for key, value in {**config["data"], "DDOR_FIRST_WEEK": "2027-01-02"}.items():
                patch.setenv(key, value)
            for key, one in _env(pod).items():
                secret = tmp_path / key
                secret.write_text("postgresql://ddor@db/ddor?why=a-long-random-text", encoding="utf-8")
                patch.setenv(key, str(secret) if key.endswith("_FILE") else one.get("value", "aggregator-1"))
            assert settings.load().host == "0.0.0.0"


@overlays
def test_a_publisher_without_a_first_week_does_not_start(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (K8S / "overlays" / overlay / "settings.env").read_text(encoding="utf-8")
    assert "\nDDOR_FIRST_WEEK=\n" in text
    monkeypatch.setenv("DDOR_FIRST_WEEK", "")
    with pytest.raises(ConfigurationError, match="DDOR_FIRST_WEEK"):
        settings.load()


@rendered
def test_each_image_has_a_tag(name: str) -> None:
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for pod in pods(documents(name)).values():
        assert container(pod)["image"] == f"weekly-detainer-report:{version}"


@everywhere
def test_the_documentation_names_each_secret(name: str) -> None:
    text = (_ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    for pod in pods(documents(name)).values():
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert f"`{volume['secret']['secretName']}`" in text
    for ingress in of_kind(documents(name), "Ingress").values():
        assert f"`{ingress['spec']['tls'][0]['secretName']}`" in text


def test_the_alerts_are_those_of_prometheus() -> None:
    written = prometheus_rule.RULE.read_text(encoding="utf-8")
    assert written == prometheus_rule.rule(), "run: python -m deploy.k8s.prometheus_rule"
    groups = [one for path in prometheus_rule.RULES for one in yaml.safe_load(path.read_text("utf-8"))["groups"]]
    assert yaml.safe_load(written)["spec"] == {"groups": groups}


def test_the_autoscaler_has_a_metric_and_never_more_aggregators_than_partitions() -> None:
    path = K8S / "components/autoscaling/scaled-object.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    (family,) = metrics.LAG.describe()
    assert f"sum({family.name}{{" in spec["triggers"][0]["metadata"]["query"]
    assert 2 == spec["minReplicaCount"] == spec["fallback"]["replicas"]
    assert spec["maxReplicaCount"] <= sum(topic.partitions for topic in EVENT_TOPICS)


@rendered
def test_the_proxy_of_ingest_is_more_patient_than_ingest_and_stores_nothing(name: str) -> None:
    prefix = "nginx.ingress.kubernetes.io/"
    for ingress in of_kind(documents(name), "Ingress").values():
        limits = {key.removeprefix(prefix): value for key, value in ingress["metadata"]["annotations"].items()}
        assert limits["proxy-buffering"] == "off"
        assert limits["proxy-http-version"] == "1.1"
        assert int(limits["proxy-read-timeout"]) > LINE_SECONDS
        if ingress["metadata"]["name"] == "ingest":
            assert limits["proxy-body-size"] == "0"
            assert limits["proxy-request-buffering"] == "off"
    (config,) = of_kind(documents(name), "ConfigMap").values()
    assert int(config["data"]["DDOR_CONNECTIONS_PER_ADDRESS"]) == TOTAL // 2


def test_the_overlay_of_the_documentation_works(tmp_path: Path) -> None:
    text = (_ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    repository = os.path.relpath(_ROOT, tmp_path.resolve())
    overlay = textwrap.dedent(example).replace("../weekly-detainer-report/", f"{repository}/")
    (tmp_path / "kustomization.yaml").write_text(overlay, encoding="utf-8")
    found = render(tmp_path)
    (config,) = of_kind(found, "ConfigMap").values()
    assert config["data"]["DDOR_FIRST_WEEK"] == "2027-01-02"
    assert of_kind(found, "Ingress")["publisher"]["spec"]["rules"][0]["host"] == "reports.example.net"
    images = {container(pod)["image"] for pod in pods(found).values()}
    assert images == {"images.example.org/weekly-detainer-report:0.1.0"}
