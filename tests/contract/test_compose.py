"""docker-compose.yml, the Dockerfile and their preparation: guarantees that are not obvious from the files.

`deploy/compose/try` runs them with Docker.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
import yaml

from deploy.local.docker_images import KAFKA_IMAGE, POSTGRES_IMAGE
from deploy.local.kafka_settings import SINGLE_NODE
from schemas.week import ReportingCalendar, Weekday
from services.runtime import agencies
from services.runtime.settings import Settings

_ROOT = Path(__file__).parents[2]
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_OURS = {name: one for name, one in _SERVICES.items() if "build" in one}
_DOCKERFILE = (_ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")

every_service = pytest.mark.parametrize("service", _SERVICES.values(), ids=_SERVICES.keys())
our_services = pytest.mark.parametrize("service", _OURS.values(), ids=_OURS.keys())


@every_service
def test_ports_are_published_on_the_loopback_address_only(service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{DDOR_[A-Z]+_PORT:-(\d+)\}:\1", port)


@every_service
def test_no_secret_is_in_the_file(service: dict[str, Any]) -> None:
    for name in service.get("environment", {}):
        assert name.endswith("_FILE") or not re.search("PASSWORD|SECRET|DSN|KEY", name)


@every_service
def test_nothing_has_more_rights_than_it_needs(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@our_services
def test_services_have_read_only_file_systems_and_known_settings(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    known = {str(field.validation_alias or f"DDOR_{name.upper()}") for name, field in Settings.model_fields.items()}
    assert {name.removesuffix("_FILE") if "DSN" in name else name for name in service["environment"]} <= known


def test_each_service_has_only_the_database_secrets_of_its_own_users() -> None:
    """The administrator's secrets are in PostgreSQL and in the two containers that end after their command."""
    own = {
        "postgres": {"postgres-password"},
        "migrate": {"postgres-dsn"},
        "aggregator": {"aggregator-dsn"},
        "publisher": {"publisher-dsn", "reader-dsn"},
        "ddor": {"operator-dsn"},
    }
    users = own["aggregator"] | own["publisher"] | own["ddor"]
    own["roles"] = {"postgres-dsn", *users}
    assert {name: set(one["secrets"]) for name, one in _SERVICES.items() if "secrets" in one} == own
    assert set(_COMPOSE["secrets"]) == set().union(*own.values())
    for name, one in _SERVICES.items():
        named = {
            value.removeprefix("/run/secrets/") for key, value in one.get("environment", {}).items() if "DSN" in key
        }
        assert named == own.get(name, set()) - ({"postgres-password"} | (users if name == "roles" else set())), name
    granted = dict(
        one.removeprefix("--user=ddor_").split("=/run/secrets/") for one in _SERVICES["roles"]["command"][2:]
    )
    assert granted == {role: f"{role}-dsn" for role in ("aggregator", "publisher", "reader", "operator")}


def test_services_start_after_their_users_have_their_roles() -> None:
    for name in ("aggregator", "publisher"):
        assert _SERVICES[name]["depends_on"]["roles"] == {"condition": "service_completed_successfully"}
    assert _SERVICES["roles"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_versions_are_those_that_tests_use() -> None:
    assert _SERVICES["kafka"]["image"] == KAFKA_IMAGE
    assert _SERVICES["postgres"]["image"] == POSTGRES_IMAGE
    assert "version" not in _COMPOSE


def test_kafka_has_the_configuration_of_every_local_kafka() -> None:
    configured = _SERVICES["kafka"]["environment"]
    same = {
        name: value for name, value in SINGLE_NODE.items() if "KAFKA_" + name.upper().replace(".", "_") in configured
    }
    assert "auto.create.topics.enable" in same
    assert {name: str(configured["KAFKA_" + name.upper().replace(".", "_")]) for name in same} == same


def test_ingest_starts_without_postgresql() -> None:
    needed, waiting = set(), ["ingest"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting += _SERVICES[name].get("depends_on", {})
    assert needed == {"ingest", "topics", "kafka"}


@pytest.mark.parametrize("name", ["ingest", "aggregator", "publisher"])
def test_a_service_is_healthy_when_ready_and_has_time_to_stop(name: str) -> None:
    service = _SERVICES[name]
    port = service["ports"][0].rpartition(":")[2]
    assert f"127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "30s"
    assert service["mem_limit"]


def test_the_image_runs_unprivileged_from_hashed_wheels() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f'image.version="{project["version"]}"' in _DOCKERFILE
    assert re.search(r"^USER \d+:\d+$", _DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["ddor"]' in _DOCKERFILE
    for install in re.findall(r"pip .*install (.*)", _DOCKERFILE):
        assert "--require-hashes" in install or "--no-index" in install
    assert "ARG REQUIREMENTS=runtime\n" in _DOCKERFILE


def test_the_packages_for_tracing_contain_those_of_the_runtime() -> None:
    """The image installs one of the two files."""
    runtime, tracing = (
        set(re.findall(r"^([\w.-]+==\S+)", (_ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))
        for name in ("runtime", "tracing")
    )
    assert runtime
    assert runtime < tracing
    added = {one.partition("==")[0] for one in tracing - runtime}
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= added


def test_prepare_creates_the_files_of_the_services_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    calendar = ReportingCalendar(ZoneInfo("Europe/Berlin"), Weekday.MONDAY)
    weeks = {str(calendar.week_of(datetime.now(UTC)))}
    _prepare(state, DDOR_ZONE="Europe/Berlin", DDOR_WEEK_STARTS_ON="Monday")
    weeks.add(str(calendar.week_of(datetime.now(UTC))))
    made = _texts(state)
    assert state.stat().st_mode & 0o777 == 0o700
    week, *variables = made["services.env"].splitlines()
    assert week.removeprefix("DDOR_FIRST_WEEK=") in weeks
    assert variables == ["DDOR_ZONE=Europe/Berlin", "DDOR_WEEK_STARTS_ON=MONDAY"]
    assert f"export {week}\nexport {variables[0]}\nexport {variables[1]}\n" in made["env"]

    key = made["agency.env"].strip().rpartition("=")[2]
    known = agencies.parse((state / "agencies" / "agencies.toml").read_bytes()).by_key(key)
    assert known is not None
    assert known.agency.name == "demo"
    assert f"DDOR_AGENCY_KEY={key}\n" in made["env"]
    assert f":{made['postgres-password']}@postgres:5432/" in made["postgres-dsn"]
    addresses = {
        name: urlsplit(made[f"{name}-dsn"].strip()) for name in ("aggregator", "publisher", "reader", "operator")
    }
    assert {name: one.username for name, one in addresses.items()} == {name: name for name in addresses}
    assert len({made["postgres-password"], *(one.password for one in addresses.values())}) == 5
    assert f"postgresql://operator:{addresses['operator'].password}@127.0.0.1:5432/ddor\n" in made["env"]

    _prepare(state, DDOR_INGEST_PORT="1234")
    again = _texts(state)
    assert "DDOR_INGEST_URL=http://127.0.0.1:1234\n" in again.pop("env")
    del made["env"]
    assert again == made


def test_prepare_has_the_default_calendar_and_refuses_an_invalid_day(tmp_path: Path) -> None:
    _prepare(tmp_path / "usual")
    made = _texts(tmp_path / "usual")["services.env"].splitlines()
    assert date.fromisoformat(made[0].removeprefix("DDOR_FIRST_WEEK=")).weekday() == Weekday.SATURDAY
    assert made[1:] == ["DDOR_ZONE=America/New_York", "DDOR_WEEK_STARTS_ON=SATURDAY"]
    with pytest.raises(subprocess.CalledProcessError):
        _prepare(tmp_path / "none", DDOR_WEEK_STARTS_ON="someday")


def _prepare(state: Path, **more: str) -> None:
    environment = {"PATH": os.environ["PATH"], "DDOR_COMPOSE_STATE": str(state), **more}
    subprocess.run([_ROOT / "deploy" / "compose" / "prepare"], env=environment, check=True, capture_output=True)


def _texts(state: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in state.iterdir() if path.is_file()}
