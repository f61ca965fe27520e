"""A real Kafka with an authorizer and users with passwords. Nothing is allowed without an ACL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.admin import DeleteAclsRequest

from deploy.local import kafka_jars
from deploy.local.kafka_native import NativeKafka
from deploy.local.ports import LOOPBACK, free_port
from services.cli import acls
from services.cli.acls import Acl
from tests.support import kafka_log
from tests.support.local_parts import started

PASSWORD = "of-the-test"


@dataclass(frozen=True, slots=True)
class AuthorizingKafka:
    """A broker. Its listener without a login is for the administrator of the test; `login` is for users."""

    part: NativeKafka
    login: str

    def settings(self, user: str) -> dict[str, Any]:
        """Fields of `Settings` for a user."""
        return {
            "kafka_bootstrap": self.login,
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": user,
            "kafka_sasl_password": PASSWORD,
            "kafka_replication": 1,
        }

    def environment(self, user: str) -> Mapping[str, str]:
        """The same as environment variables."""
        return {f"DDOR_{name.upper()}": str(value) for name, value in self.settings(user).items()}


@contextmanager
def authorizing(directory: Path, users: Iterable[str]) -> Iterator[AuthorizingKafka]:
    """Skips the test if Kafka's jars are not available."""
    if lacking := kafka_jars.missing():
        pytest.skip(" ".join(lacking))
    port, login, controller = free_port(), free_port(), free_port()
    addresses = f"PLAINTEXT://{LOOPBACK}:{port},SASL_PLAINTEXT://{LOOPBACK}:{login}"
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    passwords = " ".join(f'user_{user}="{PASSWORD}"' for user in users)
    settings = {
        "listeners": f"{addresses},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": addresses,
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{module} required {passwords};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        # The administrator: the broker itself and the tools of tests.
        "super.users": "User:ANONYMOUS",
    }
    with started(NativeKafka(directory, port=port, settings=settings)) as part:
        yield AuthorizingKafka(part, f"{LOOPBACK}:{login}")


async def grant(kafka: AuthorizingKafka, *entries: Acl) -> None:
    """Create these ACLs."""
    async with kafka_log.admin(kafka.part.bootstrap) as admin:
        await acls.create(admin, entries)


async def revoke(kafka: AuthorizingKafka, *entries: Acl) -> None:
    """Delete these ACLs, which must exist."""
    async with kafka_log.admin(kafka.part.bootstrap) as admin:
        for one in entries:
            request = DeleteAclsRequest(
                one.resource, one.name, one.pattern, one.principal, one.host, one.operation, one.permission
            )
            response: Any = await admin._send_request(request)
            (found,) = response.filter_responses
            assert [match[0] for match in found[2]] == [0], one
