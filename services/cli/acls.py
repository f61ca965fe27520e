"""The ACLs of Kafka: describe them, compare them with the required rights, and create missing ones. Deletes none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ClusterAuthorizationFailedError, SecurityDisabled, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from services.runtime.errors import ConfigurationError
from services.runtime.kafka_rights import AGGREGATOR, INGEST, OPERATOR, PUBLISHER, Operation, Resource, Right

RIGHTS: Final[Mapping[str, Sequence[Right]]] = {
    "ingest": INGEST,
    "aggregator": AGGREGATOR,
    "publisher": PUBLISHER,
    "operator": OPERATOR,
}
"""By the name of the option for the principal."""
DEFAULTS: Final = {name: f"User:ddor-{name}" for name in RIGHTS if name != "operator"}
EVERYONE = "User:*"

_ANY = 1
_LITERAL, _PREFIXED = 3, 4
_DENY, _ALLOW = 2, 3
_ANY_HOST = "*"
_PRINCIPAL = re.compile(r"[A-Za-z]+:.+")
_BY_HAND = "`ddor topics apply` does not remove it: use kafka-acls --remove"


class WrongPrincipalError(ConfigurationError):
    """Not the principal of one user."""


class Acl(NamedTuple):
    """One entry, with Kafka's codes. A newer Kafka may have codes of resources and operations that are unknown here."""

    principal: str
    operation: int
    resource: int
    name: str
    pattern: int = _LITERAL
    host: str = _ANY_HOST
    permission: int = _ALLOW

    def __str__(self) -> str:
        operation = str(Operation(self.operation)) if self.operation in set(Operation) else f"{self.operation}"
        resource = Resource(self.resource) if self.resource in set(Resource) else None
        kind = resource.name.lower().replace("_", " ") if resource else f"resource {self.resource}"
        on = "the cluster" if resource is Resource.CLUSTER else f"{kind} {self.name}"
        prefix = "*" if self.pattern == _PREFIXED else ""
        host = "" if self.host == _ANY_HOST else f" from host {self.host}"
        return f"{'is denied ' if self.permission == _DENY else ''}{operation} on {on}{prefix}{host}"

    def covers(self, right: Right) -> bool:
        """Whether it is about the right's resource and operation."""
        named = right.name.startswith(self.name) if self.pattern == _PREFIXED else self.name in (right.name, "*")
        return self.resource == right.resource and named and self.operation in (Operation.ALL, right.operation)


class Drift(NamedTuple):
    """The ACLs that are missing, and those beyond the required ones."""

    missing: list[Acl]
    beyond: list[Acl]

    def lines(self, verb: str) -> Iterator[str]:
        """One line each. `verb` is for the missing ones."""
        for one in self.missing:
            yield f"{one.principal}: {verb} {one}"
        for one in self.beyond:
            yield f"{one.principal}: has, beyond its rights, {one}; {_BY_HAND}"


def required(principals: Mapping[str, str]) -> set[Acl]:
    """The ACLs of these principals, by name of `RIGHTS`. Two services may have the same principal.

    Raises WrongPrincipalError.
    """
    acls = set()
    for name, principal in principals.items():
        if not _PRINCIPAL.fullmatch(principal) or principal == EVERYONE:
            raise WrongPrincipalError(
                f"--{name}-principal: {principal!r} is not the principal of a user: write it as in ACLs, such as"
                f" User:ddor-{name} or User:CN=ddor-{name}"
            )
        acls |= {Acl(principal, right.operation, right.resource, right.name) for right in RIGHTS[name]}
    return acls


def drift(wanted: set[Acl], present: Iterable[Acl]) -> Drift:
    """Compare. An entry for everyone is beyond the rights if it is about a resource and operation of this project."""
    found = set(present)
    rights = {right for each in RIGHTS.values() for right in each}
    theirs = {one for one in found if one.principal != EVERYONE}
    of_all = {one for one in found - theirs if any(one.covers(right) for right in rights)}
    return Drift(sorted(wanted - found), sorted(theirs - wanted | of_all))


async def present(admin: AIOKafkaAdminClient, principals: Iterable[str]) -> set[Acl]:
    """All ACLs of these principals, and those of everyone. ConfigurationError if the broker refuses."""
    found: set[Acl] = set()
    for principal in sorted({*principals, EVERYONE}):
        # Null matches each name and host. The type of the parameter is narrower than the protocol.
        request = DescribeAclsRequest(_ANY, None, _ANY, principal, None, _ANY, _ANY)  # type: ignore[arg-type]
        response: Any = await admin._send_request(request)
        _check(response.error_code, response.error_message)
        for resource, name, pattern, acls in response.resources:
            found |= {Acl(whose, do, resource, name, pattern, host, allow) for whose, host, do, allow in acls}
    return found


async def create(admin: AIOKafkaAdminClient, acls: Iterable[Acl]) -> None:
    """Create these ACLs, one request each, as aiokafka's class permits. ConfigurationError if the broker refuses."""
    for one in acls:
        request = CreateAclsRequest(
            one.resource, one.name, one.pattern, one.principal, one.host, one.operation, one.permission
        )
        response: Any = await admin._send_request(request)
        for code, text in response.creation_responses:
            _check(code, text)


def _check(code: int, text: str | None) -> None:
    error = for_code(code)
    if error is SecurityDisabled:
        raise ConfigurationError(
            "Kafka has no authorizer, so ACLs have no effect: set authorizer.class.name of the brokers, or omit --acls"
        )
    if error is ClusterAuthorizationFailedError:
        raise ConfigurationError(
            "Kafka does not allow this user to read or create ACLs: use an administrator, who has Describe and Alter on"
            " the cluster or is in super.users of the brokers (DDOR_KAFKA_SASL_USERNAME)"
        )
    if code:
        raise ConfigurationError(f"ACLs: {error.__name__}: {text or 'the broker gives no details'}")
