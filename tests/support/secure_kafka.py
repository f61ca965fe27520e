"""A real Kafka with TLS: one listener that requires client certificates, and one that requires SCRAM-SHA-512."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.local import kafka_jars
from deploy.local.kafka_native import NativeKafka
from deploy.local.ports import LOOPBACK, free_port
from tests.support.certificates import Authority, Issued, replace
from tests.support.local_parts import started

USER, PASSWORD = "ddor-services", "planted-Pa55word-of-the-test"


class SecureKafka(NamedTuple):
    """The broker, the addresses of its listeners, its CA, and the directory with the files of clients."""

    part: NativeKafka
    certificates: str
    login: str
    authority: Authority
    directory: Path

    def write(self, issued: Issued) -> None:
        """Write client.crt and client.key."""
        issued.write(self.directory, "client")

    def write_broker(self, authority: Authority) -> None:
        """Write the broker's files. After its next start it uses and trusts certificates of `authority`."""
        _write_broker(self.directory, authority)

    def mutual(self, **changes: object) -> dict[str, Any]:
        """Settings of a client with a certificate."""
        return {
            "kafka_bootstrap": self.certificates,
            "kafka_security_protocol": "SSL",
            "kafka_ssl_cafile": self.directory / "ca.pem",
            "kafka_ssl_certfile": self.directory / "client.crt",
            "kafka_ssl_keyfile": self.directory / "client.key",
            "kafka_replication": 1,
            **changes,
        }

    def scram(self, **changes: object) -> dict[str, Any]:
        """Settings of a client with a password."""
        return {
            "kafka_bootstrap": self.login,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_username": USER,
            "kafka_sasl_password": PASSWORD,
            "kafka_ssl_cafile": self.directory / "ca.pem",
            "kafka_replication": 1,
            **changes,
        }


@contextmanager
def secure_kafka(directory: Path) -> Iterator[SecureKafka]:
    """Start it, with files of a client that it accepts. Skips the test if Kafka cannot run natively."""
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    authority = Authority()
    authority.write(directory / "ca.pem")
    _write_broker(directory, authority)
    port, mutual, login, controller = (free_port() for _ in range(4))
    addresses = f"PLAINTEXT://{LOOPBACK}:{port},SSL://{LOOPBACK}:{mutual},SASL_SSL://{LOOPBACK}:{login}"
    protocols = ("CONTROLLER:PLAINTEXT", "PLAINTEXT:PLAINTEXT", "SSL:SSL", "SASL_SSL:SASL_SSL")
    settings = {
        "listeners": f"{addresses},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": addresses,
        "listener.security.protocol.map": ",".join(protocols),
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(directory / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(directory / "trusted-by-broker.pem"),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    with started(NativeKafka(directory / "kafka", port=port, settings=settings)) as part:
        _add_user(part)
        kafka = SecureKafka(part, f"{LOOPBACK}:{mutual}", f"{LOOPBACK}:{login}", authority, directory)
        kafka.write(authority.issue("ddor"))
        yield kafka


def _write_broker(directory: Path, authority: Authority) -> None:
    served = authority.issue()
    replace(directory / "broker.pem", served.key + served.certificate)
    authority.write(directory / "trusted-by-broker.pem")


def _add_user(part: NativeKafka) -> None:
    command = kafka_jars.java_command(
        "kafka.admin.ConfigCommand",
        *("--bootstrap-server", part.bootstrap, "--alter", "--entity-type", "users", "--entity-name", USER),
        *("--add-config", f"SCRAM-SHA-512=[password={PASSWORD}]"),
        options=kafka_jars.QUICK_START,
        log_level="WARN",
    )
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
