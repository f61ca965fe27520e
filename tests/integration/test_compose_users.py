"""Users of PostgreSQL in docker-compose.yml: its commands, settings and secrets, in its order, without Docker.

`deploy/compose/try` does the same with Docker.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from deploy.local.parts import KafkaPart, PostgresPart
from deploy.local.service import Service
from services.runtime.settings import Settings
from tests.conftest import NewPostgres
from tests.support.agencies import write_agencies
from tests.support.commands import Done, ddor
from tests.support.database_roles import as_user, name_of
from tests.support.local_parts import migrated, new_database
from tests.support.processes import service, started

_ROOT = Path(__file__).parents[2]
_SERVICES: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
_ADDED = ("aggregator-dsn", "publisher-dsn", "reader-dsn", "operator-dsn")
_SECRETS = "/run/secrets/"


@pytest.fixture(scope="module")
def server(new_postgres: NewPostgres, postgres: PostgresPart) -> Iterator[PostgresPart]:
    """A server of its own, because the users have fixed names."""
    if postgres.source == "settings":
        pytest.skip("creates users with fixed names, so not on an external server")
    with new_postgres() as part:
        yield part


def _prepare(state: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DDOR_COMPOSE_STATE": str(state)}
    subprocess.run([_ROOT / "deploy" / "compose" / "prepare"], env=environment, check=True, capture_output=True)


def _texts(state: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in state.iterdir() if path.is_file()}


def _secret(state: Path, dsn: str, name: str) -> Path:
    """A secret with the address of the test's server, whose administrator has another password."""
    parts = urlsplit((state / name).read_text(encoding="utf-8").strip())
    user, password = parts.username or "", parts.password or ""
    secret = state / f"{name}.here"
    secret.write_text(dsn if user == name_of(dsn) else as_user(dsn, user, password))
    return secret


def _environment(name: str, state: Path, dsn: str) -> dict[str, str]:
    """The database settings of a container, which must be among its secrets."""
    found = {}
    for variable, value in _SERVICES[name]["environment"].items():
        if "DSN" in variable:
            secret = value.removeprefix(_SECRETS)
            assert secret in _SERVICES[name]["secrets"]
            found[variable] = str(_secret(state, dsn, secret))
    return found


async def _run(name: str, state: Path, dsn: str, settings: Settings, *arguments: str) -> Done:
    """Run a container's command, or another one with its settings."""
    command = arguments or tuple(one.replace(_SECRETS, f"{state}/") for one in _SERVICES[name]["command"])
    secret = Path(_environment(name, state, dsn)["DDOR_POSTGRES_DSN_FILE"])
    return await ddor(settings, *command, DDOR_POSTGRES_DSN=await asyncio.to_thread(secret.read_text))


def _check_users(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_ROOT / "deploy" / "compose" / "check.py"), "users"]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("former", [True, False], ids=["upgrade", "new"])
async def test_each_service_has_its_own_user(
    former: bool, server: PostgresPart, own_kafka: KafkaPart, tmp_path: Path
) -> None:
    """From empty volumes, and from those of the former file, in which all services were the administrator."""
    state = tmp_path / "state"
    await asyncio.to_thread(_prepare, state)
    before = _texts(state)
    if former:
        for name in _ADDED:
            (state / name).unlink()
        await asyncio.to_thread(_prepare, state)
    after = _texts(state)
    kept = before.keys() - {"env", *_ADDED}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert before.keys() == after.keys()

    with new_database(server) as dsn, ExitStack() as stack:
        settings = Settings(postgres_dsn=dsn, kafka_bootstrap=own_kafka.bootstrap)
        if former:
            await migrated(dsn)
        for name in ("migrate", "roles", "roles"):  # the second time as by `docker compose up` of a running system
            done = await _run(name, state, dsn, settings)
            assert done.exit_code == 0, done.output
        assert "publisher: may log in, with ddor_publisher" in done.out

        services: dict[str, Service] = {}
        more = {
            "DDOR_KAFKA_BOOTSTRAP": own_kafka.bootstrap,
            "DDOR_AGENCIES_FILE": str(write_agencies(tmp_path / "agencies.toml")),
            **dict(line.split("=") for line in after["services.env"].splitlines()),
        }
        for name in ("ingest", "aggregator", "publisher"):
            one = service(name, tmp_path / name, {**more, **_environment(name, state, dsn)})
            services[name] = stack.enter_context(started(one))
        assert _environment("ingest", state, dsn) == {}

        address = {"DDOR_PUBLISHER_URL": services["publisher"].url, **_environment("migrate", state, dsn)}
        checked = await asyncio.to_thread(_check_users, address)
        assert (checked.returncode, checked.stdout) == (0, "connections of aggregator, publisher, reader\n"), checked

        status = await _run("ddor", state, dsn, settings, "status", "--json")
        assert (status.exit_code, '"partitions"' in status.out) == (0, True), status.output
        denied = await _run("ddor", state, dsn, settings, "migrate")
        assert (denied.exit_code, "PostgreSQL does not allow this" in denied.err) == (2, True), denied.output
