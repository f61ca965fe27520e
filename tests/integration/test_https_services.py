"""Each service as a process with HTTPS and a port for operators, and clients with a private CA."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from typer.testing import CliRunner

from deploy.local.parts import KafkaPart
from deploy.local.ports import free_port
from deploy.local.service import Service
from services.cli import main
from services.runtime import http
from services.runtime.connection_limits import ConnectionLimiter
from services.runtime.settings import Settings
from tests.support import certificates
from tests.support.agencies import LAS_VEGAS, key_of, write_agencies
from tests.support.certificates import Authority
from tests.support.commands import ddor
from tests.support.events import envelope, issued
from tests.support.processes import SINGLE, service, started
from tests.support.raw_client import raw
from tests.support.serving import ingest as serving_ingest
from tests.support.serving import listening
from tests.support.waiting import until

HEALTH = ("/livez", "/readyz", "/metrics")


class Secure(NamedTuple):
    """The processes by name, with the port for operators, the address of clients, and the CA."""

    processes: dict[str, Service]
    urls: dict[str, str]
    authority: Authority
    directory: Path
    ends: datetime

    @property
    def ca(self) -> str:
        return str(self.directory / "ca.pem")

    @property
    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=ssl.create_default_context(cafile=self.ca), trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def secure(own_kafka: KafkaPart, module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    directory = tmp_path_factory.mktemp("https")
    authority = Authority()
    authority.write(directory / "ca.pem")
    served = authority.issue()
    certificate, key = served.write(directory)
    env = {
        "DDOR_KAFKA_BOOTSTRAP": own_kafka.bootstrap,
        "DDOR_POSTGRES_DSN": module_database,
        "DDOR_AGENCIES_FILE": str(write_agencies(directory / "agencies.toml")),
        "DDOR_FIRST_WEEK": "2090-01-07",  # no week closes
        "DDOR_TLS_CERT_FILE": str(certificate),
        "DDOR_TLS_KEY_FILE": str(key),
    }
    processes, urls = {}, {}
    with ExitStack() as stack:
        for role in ("ingest", "aggregator", "publisher"):
            operators = free_port()
            one = service(role, directory, {**env, "DDOR_METRICS_PORT": str(operators)})
            urls[role] = one.url.replace("http:", "https:")
            one.port = operators
            processes[role] = stack.enter_context(started(one))
        yield Secure(processes, urls, authority, directory, served.ends)


def end_of(use: str, metrics: str) -> datetime | None:
    """The value of the metric."""
    found = re.search(rf'^ddor_certificate_expiry_timestamp_seconds{{use="{use}"}} (\S+)$', metrics, re.M)
    return datetime.fromtimestamp(float(found[1]), UTC) if found else None


@pytest.mark.parametrize("role", ["ingest", "aggregator", "publisher"])
async def test_health_and_metrics_are_only_on_the_port_for_operators(secure: Secure, role: str) -> None:
    async with secure.client as client:
        for path in HEALTH:
            assert (await client.get(f"{secure.processes[role].url}{path}")).status_code == 200
            assert (await client.get(f"{secure.urls[role]}{path}")).status_code == 404
        other = await client.get(f"{secure.processes[role].url}/v1/reports")
        assert other.status_code == 404, "the port for operators serves nothing else"
        metrics = (await client.get(f"{secure.processes[role].url}/metrics")).text
    assert end_of("https", metrics) == secure.ends


async def test_clients_of_ingest_and_publisher_use_https(secure: Secure) -> None:
    headers = {"Authorization": f"Bearer {key_of(LAS_VEGAS)}", "Content-Type": SINGLE}
    body = json.dumps(envelope("issued", issued()))
    async with secure.client as client:
        assert (await client.post(f"{secure.urls['ingest']}/v1/events", content=body, headers=headers)).is_success
        assert (await client.get(f"{secure.urls['publisher']}/v1/reports")).json() is not None
    async with httpx.AsyncClient(trust_env=False) as stranger:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await stranger.get(f"{secure.urls['publisher']}/v1/reports")


@pytest.mark.parametrize("role", ["ingest", "publisher"])
def test_curl_uses_https_and_is_refused_with_an_old_version_or_without_tls(secure: Secure, role: str) -> None:
    if (program := shutil.which("curl")) is None:
        pytest.skip("curl is not installed")
    path = {"ingest": "/openapi.json", "publisher": "/v1/reports"}[role]

    def curl(*arguments: str, scheme: str = "https:") -> tuple[int, str]:
        url = secure.urls[role].replace("https:", scheme) + path
        command = [program, "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", *arguments, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout

    assert curl("--cacert", secure.ca) == (0, "200")
    assert curl("--cacert", secure.ca, "--http2") == (0, "200"), "continues in HTTP/1.1"
    assert curl()[0] == 60, "the CA is not a public one"
    code, _ = curl("--cacert", secure.ca, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0")
    assert code == 35
    assert curl(scheme="http:")[0] in (52, 56), "closed"
    assert "Traceback" not in secure.processes[role].process.log.read_text()


async def test_a_running_process_uses_a_new_certificate(secure: Secure) -> None:
    renewed = secure.authority.issue(days=25)
    renewed.write(secure.directory)
    for role, process in secure.processes.items():

        async def is_renewed(process: Service = process) -> bool:
            async with secure.client as client:
                return end_of("https", (await client.get(f"{process.url}/metrics")).text) == renewed.ends

        await until(is_renewed, f"{role} has read the new certificate")
    async with secure.client as client:
        assert (await client.get(f"{secure.urls['publisher']}/v1/reports")).is_success


async def _ready() -> str | None:
    return None


async def test_the_port_for_operators_is_served_while_clients_have_all_connections() -> None:
    app = http.application([], _ready, nullcontext, health_apart=True)
    operators = free_port()
    async with listening(app, ConnectionLimiter(2, per_address=1), health_port=operators) as port, raw(port) as client:
        await client.send(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        response = await client.response()
        assert response is not None
        assert response.status == 404, "only on the other port"
        async with httpx.AsyncClient(trust_env=False) as other:
            assert (await other.get(f"http://127.0.0.1:{port}/")).status_code == 503
            assert (await other.get(f"http://127.0.0.1:{operators}/livez")).status_code == 200


@pytest.mark.parametrize("role", ["ingest", "aggregator", "publisher"])
def test_a_service_does_not_start_with_an_unusable_certificate(
    role: str, tmp_path: Path, agencies_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.logs.configure", lambda *_: None)  # it would affect later tests
    certificate, key = Authority().issue().write(tmp_path)
    key.write_text("planted")
    env = {
        "DDOR_AGENCIES_FILE": str(agencies_file),
        "DDOR_FIRST_WEEK": "2017-01-28",
        "DDOR_TLS_CERT_FILE": str(certificate),
        f"DDOR_{role.upper()}_PORT": str(free_port()),
    }

    def failure(**more: str) -> str:
        result = CliRunner().invoke(main.command(role), [role, "serve"], env={**env, **more})
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == 1
        assert "planted" not in result.stderr
        return result.stderr

    assert failure() == "Configuration: Value error, set both DDOR_TLS_CERT_FILE and DDOR_TLS_KEY_FILE, or neither\n"
    refused = failure(DDOR_TLS_KEY_FILE=str(key))
    assert refused == f"Configuration: DDOR_TLS_KEY_FILE: {key}: contains no private key in PEM format\n"
    port = env[f"DDOR_{role.upper()}_PORT"]
    assert "DDOR_METRICS_PORT must differ from" in failure(DDOR_TLS_KEY_FILE=str(key), DDOR_METRICS_PORT=port)


async def test_an_import_trusts_a_private_ca(tmp_path: Path) -> None:
    server, _ = certificates.https(tmp_path)
    authority = tmp_path / "ca.pem"
    authority.write_bytes((tmp_path / "tls.crt").read_bytes().split(b"\n-----END CERTIFICATE-----\n", 1)[1])
    file = tmp_path / "events.ndjson"
    file.write_text(json.dumps(envelope("issued", issued())) + "\n")
    async with serving_ingest(tmp_path, tls=server) as site:

        async def imported(**variables: str) -> tuple[int, str]:
            sending = {
                "DDOR_AGENCY": LAS_VEGAS,
                "DDOR_AGENCY_KEY": key_of(LAS_VEGAS),
                "DDOR_INGEST_URL": f"https://127.0.0.1:{site.port}",
                "NO_PROXY": "*",
                **variables,
            }
            arguments = ("import", str(file), "--profile", "cloudevents", "--dataset", "one")
            done = await ddor(Settings(), *arguments, "--journal", str(tmp_path / "journal"), **sending)
            return done.exit_code, done.err

        code, err = await imported()
        assert code == 2, err
        assert f"ingest at 127.0.0.1:{site.port} has a certificate that is not trusted (" in err
        assert "set SSL_CERT_FILE to the file of its CA, or correct the host in DDOR_INGEST_URL" in err
        code, err = await imported(SSL_CERT_FILE=str(tmp_path / "missing"))
        assert code == 2
        assert f"SSL_CERT_FILE: {tmp_path / 'missing'}: No such file or directory" in err
        assert not site.producer.stored
        code, err = await imported(SSL_CERT_FILE=str(authority))
        assert code == 0, err
        assert len(site.producer.stored) == 1
