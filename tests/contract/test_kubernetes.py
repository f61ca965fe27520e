"""deploy/k8s: each pod has exactly the rights, limits, probes and times that its process needs.

The files of the base are checked on every machine. Overlays and components are checked as kustomize renders them.
Nothing here runs in a cluster: docs/kubernetes.md lists the untested parts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from services.ingest.stream.receipt_buffer import DISK_BYTES
from services.runtime import http_server
from services.runtime.settings import Settings
from tests.support.manifests import ALL, BASE, RENDERED, container, documents, of_kind, pods

_ROOT = Path(__file__).parents[2]
_SERVICES = {"ingest": "ingest_port", "aggregator": "aggregator_port", "publisher": "publisher_port"}
_CLOSE_SECONDS = 10
"""The longest close of a Kafka client, as in docker-compose.yml."""

everywhere = pytest.mark.parametrize("name", [BASE, *RENDERED])


def _env(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in container(pod).get("env", [])}


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


@everywhere
def test_the_pods_are_the_services_and_two_jobs(name: str) -> None:
    assert pods(documents(name)).keys() == {*_SERVICES, "migrate", "topics"}


@everywhere
def test_pods_meet_the_restricted_pod_security_standard(name: str) -> None:
    for pod in pods(documents(name)).values():
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod["spec"].keys()
        shared, own = pod["spec"]["securityContext"], container(pod)["securityContext"]
        assert shared["runAsNonRoot"] is True
        assert shared["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        kinds = {kind for volume in pod["spec"]["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds <= {"secret", "emptyDir"}
    (namespace,) = of_kind(documents(name), "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@everywhere
def test_pods_run_as_the_user_of_the_image(name: str) -> None:
    (user,) = re.findall(r"^USER (\d+:\d+)$", (_ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE)
    for pod in pods(documents(name)).values():
        context = pod["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
        assert context["fsGroup"] == context["runAsGroup"], "secrets are readable by the group only"


@everywhere
def test_no_pod_has_a_token(name: str) -> None:
    accounts = of_kind(documents(name), "ServiceAccount")
    for pod in pods(documents(name)).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert accounts[pod["spec"]["serviceAccountName"]]["automountServiceAccountToken"] is False


@everywhere
def test_mounts_have_volumes_and_only_tmp_is_writable(name: str) -> None:
    for pod in pods(documents(name)).values():
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        mounts = container(pod)["volumeMounts"]
        assert sorted(one["name"] for one in mounts) == sorted(volumes)
        assert [one["mountPath"] for one in mounts if not one.get("readOnly")] == ["/tmp"]
        for mount in mounts:
            volume = volumes[mount["name"]]
            assert ("emptyDir" in volume) == (mount["mountPath"] == "/tmp")
            assert volume.get("emptyDir", {"sizeLimit": "secret"})["sizeLimit"]
            assert volume.get("secret", {"defaultMode": 0o440})["defaultMode"] == 0o440
            assert "subPath" not in mount, "a mounted file would stay the old one"


@everywhere
def test_containers_have_requests_and_a_memory_limit(name: str) -> None:
    for pod in pods(documents(name)).values():
        resources = container(pod)["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}
        assert _bytes(resources["requests"]["memory"]) <= _bytes(resources["limits"]["memory"])
        assert "cpu" not in resources["limits"], "a limit would throttle a busy service without protecting others"


@everywhere
def test_temporary_files_fit_into_the_limits(name: str) -> None:
    found = pods(documents(name))
    sizes = {
        key: _bytes(volume["emptyDir"]["sizeLimit"])
        for key, pod in found.items()
        for volume in pod["spec"]["volumes"]
        if "emptyDir" in volume
    }
    assert sizes["ingest"] > DISK_BYTES
    for service in _SERVICES:
        assert sizes[service] < _bytes(container(found[service])["resources"]["limits"]["ephemeral-storage"])


@everywhere
def test_services_have_probes_on_the_port_that_they_listen_on(name: str) -> None:
    for service, setting in _SERVICES.items():
        one = container(pods(documents(name))[service])
        port = Settings.model_fields[setting].default
        assert one["ports"] == [{"name": "http", "containerPort": port}]
        assert f"DDOR_{setting.upper()}" not in _env(pods(documents(name))[service])
        assert one["args"] == [service, "serve"]
        paths = {probe: one[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert paths == {
            "startupProbe": {"path": "/livez", "port": "http"},
            "readinessProbe": {"path": "/readyz", "port": "http"},
            "livenessProbe": {"path": "/livez", "port": "http"},  # a restart does not bring Kafka back
        }
        assert one["readinessProbe"]["timeoutSeconds"] > 2, "/readyz itself waits for 2 s"


@everywhere
def test_a_service_has_time_to_stop(name: str) -> None:
    for service in _SERVICES:
        pod = pods(documents(name))[service]
        pause = container(pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod["spec"]["terminationGracePeriodSeconds"] > pause + http_server.DRAIN_SECONDS + _CLOSE_SECONDS
        assert bool(pause) == (service in of_kind(documents(name), "Service"))


@everywhere
def test_services_are_redundant_and_spread(name: str) -> None:
    found = documents(name)
    budgets = of_kind(found, "PodDisruptionBudget")
    deployments = of_kind(found, "Deployment")
    assert deployments.keys() == budgets.keys() == _SERVICES.keys()
    for service, deployment in deployments.items():
        selector = {"matchLabels": {"app.kubernetes.io/name": service}}
        assert deployment["spec"]["selector"] == budgets[service]["spec"]["selector"] == selector
        assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == service
        assert budgets[service]["spec"]["maxUnavailable"] == 1
        spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [one["labelSelector"] for one in spread] == [selector, selector]
        scaled = service == "aggregator" and name.endswith(ALL)
        assert deployment["spec"].get("replicas") == (None if scaled else 2)
