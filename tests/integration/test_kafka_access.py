"""The access rules of deploy/k8s/overlays/cluster/kafka.yaml suffice: all services work with them on a real Kafka.

The login is PLAIN without TLS here, and SCRAM with TLS in the cluster. The rules and the user name are the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml

from deploy.local import kafka_jars
from deploy.local.kafka_native import NativeKafka
from services.runtime.kafka_rights import GROUP
from tests.support.authorizing import PASSWORD, authorizing
from tests.support.events import envelope, issued
from tests.support.manifests import K8S
from tests.support.processes import client, post, service
from tests.support.processes import started as serving
from tests.support.waiting import until

_USER: dict[str, Any] = next(
    one
    for one in yaml.safe_load_all((K8S / "overlays/cluster/kafka.yaml").read_text(encoding="utf-8"))
    if one["kind"] == "KafkaUser"
)
_NAME = _USER["metadata"]["name"]
_OPTIONS = {"topic": "--topic", "group": "--group", "transactionalId": "--transactional-id"}


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[tuple[NativeKafka, str]]:
    """A Kafka that authorizes requests, and the address of its listener with a login."""
    with authorizing(tmp_path / "kafka", [_NAME]) as one:
        yield one.part, one.login


def _tool(name: str, kafka: NativeKafka, *arguments: str) -> str:
    command = kafka_jars.java_command(
        f"org.apache.kafka.tools.{name}",
        *("--bootstrap-server", kafka.bootstrap, *arguments),
        options=kafka_jars.QUICK_START,
        log_level="WARN",
    )
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def _grant(kafka: NativeKafka) -> None:
    """Apply the rules of the KafkaUser."""
    for rule in _USER["spec"]["authorization"]["acls"]:
        resource = rule["resource"]
        named = ["--cluster"] if resource["type"] == "cluster" else [_OPTIONS[resource["type"]], resource["name"]]
        pattern = {"prefix": "prefixed"}.get(resource.get("patternType"), "literal")
        operations = [word for one in rule["operations"] for word in ("--operation", one)]
        rights = ["--allow-principal", f"User:{_NAME}", *operations]
        _tool("AclCommand", kafka, "--add", *rights, *named, "--resource-pattern-type", pattern)


def _ddor(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli.main", *arguments]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False)


async def _fetchval(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_the_services_work_with_the_rights_of_the_overlay(
    kafka: tuple[NativeKafka, str], database: str, agencies_file: Path, tmp_path: Path
) -> None:
    broker, login = kafka
    # A week that ended long enough ago to be closed at once, and an event in it.
    past = datetime.now(UTC).replace(hour=17, minute=0, second=0, microsecond=0) - timedelta(days=14)
    saturday = past - timedelta(days=(past.weekday() + 2) % 7)
    moment = saturday + timedelta(days=2)
    env = {
        "DDOR_KAFKA_BOOTSTRAP": login,
        "DDOR_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "DDOR_KAFKA_SASL_MECHANISM": "PLAIN",
        "DDOR_KAFKA_SASL_USERNAME": _NAME,
        "DDOR_KAFKA_SASL_PASSWORD": PASSWORD,
        "DDOR_KAFKA_REPLICATION": "1",
        "DDOR_POSTGRES_DSN": database,
        "DDOR_AGENCIES_FILE": str(agencies_file),
        "DDOR_FIRST_WEEK": str(saturday.date()),
    }
    assert "Authorization" in _ddor(env, "topics", "apply").stderr, "without rules, the broker refuses"
    _grant(broker)
    assert _ddor(env, "topics", "apply").returncode == 0
    checked = _ddor(env, "topics", "apply", "--check")
    assert checked.returncode == 0, checked.stdout

    with ExitStack() as stack:
        roles = ("ingest", "aggregator", "publisher")
        ingest, _, publisher = (stack.enter_context(serving(service(role, tmp_path, env))) for role in roles)
        event = envelope("issued", issued(issued_at=moment.isoformat()), time=moment.isoformat())
        async with client(ingest) as http:
            response = await post(http, json.dumps(event).encode())
        assert response.status_code == 202, response.text

        async def published() -> bool:
            query = "SELECT count(*) FROM ddor.outbox WHERE topic = 'report-ready' AND sent_at IS NOT NULL"
            return bool(await _fetchval(database, query))

        await until(published, "the week is closed and its report is on the topic")
        async with httpx.AsyncClient(base_url=publisher.url, trust_env=False) as reader:
            reports = (await reader.get("/v1/reports")).json()
        assert reports, "the report can be read"
        assert "detainer-issued" in _tool("consumer.group.ConsumerGroupCommand", broker, "--describe", "--group", GROUP)
