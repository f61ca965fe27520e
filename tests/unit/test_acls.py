"""services.cli.acls: required ACLs, and how present ones differ from them."""

from __future__ import annotations

import pytest

from services.cli import acls
from services.cli.acls import Acl, WrongPrincipalError
from services.runtime.kafka_rights import AGGREGATOR, INGEST, Operation, Resource

_INGEST = {"ingest": "User:i"}
_PREFIXED, _DENY = 4, 2
_TOPIC = Resource.TOPIC


def test_each_right_of_a_principal_is_a_literal_acl_for_all_hosts() -> None:
    wanted = acls.required(_INGEST)
    assert {(one.operation, one.resource, one.name) for one in wanted} == set(INGEST)
    assert {(one.principal, one.pattern, one.host, one.permission) for one in wanted} == {("User:i", 3, "*", 3)}
    assert len(acls.required({"ingest": "User:one", "aggregator": "User:one"})) == len({*INGEST, *AGGREGATOR})


@pytest.mark.parametrize("principal", ["ingest", "User:", "User:*", ":x", ""])
def test_what_is_not_the_principal_of_a_user_is_refused(principal: str) -> None:
    with pytest.raises(WrongPrincipalError, match="--ingest-principal"):
        acls.required({"ingest": principal})


@pytest.mark.parametrize(
    ("beyond", "text"),
    [
        (Acl("User:i", Operation.READ, _TOPIC, "detainer-issued"), "Read on topic detainer-issued; "),
        (Acl("User:i", Operation.ALL, _TOPIC, "det", _PREFIXED), "All on topic det*; "),
        (Acl("User:i", Operation.WRITE, _TOPIC, "detainer-issued", host="::1"), "detainer-issued from host ::1; "),
        (Acl("User:i", Operation.WRITE, _TOPIC, "week-attested", permission=_DENY), "is denied Write on topic week"),
        (Acl("User:i", Operation.ALTER, Resource.CLUSTER, "kafka-cluster"), "Alter on the cluster; "),
        (Acl("User:i", 13, 7, "any"), "13 on resource 7 any; "),
        (Acl("User:*", Operation.ALL, _TOPIC, "*"), "User:*: has, beyond its rights, All on topic *; "),
        (Acl("User:*", Operation.WRITE, _TOPIC, "week-", _PREFIXED), "Write on topic week-*; "),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_beyond_the_list_is_named(beyond: Acl, text: str) -> None:
    wanted = acls.required(_INGEST)
    drift = acls.drift(wanted, {*wanted, beyond})
    assert (drift.missing, drift.beyond) == ([], [beyond])
    (line,) = drift.lines("lacks")
    assert text in line
    assert "use kafka-acls --remove" in line


def test_what_everyone_may_do_elsewhere_is_no_drift() -> None:
    wanted = acls.required(_INGEST)
    elsewhere = [
        Acl("User:*", Operation.READ, _TOPIC, "payments"),
        Acl("User:*", Operation.DELETE, _TOPIC, "detainer-issued"),
        Acl("User:*", Operation.READ, Resource.GROUP, "any"),
    ]
    assert acls.drift(wanted, {*wanted, *elsewhere}) == ([], [])


def test_what_is_missing_is_named() -> None:
    wanted = acls.required(_INGEST)
    assert sorted(acls.drift(wanted, ()).lines("lacks")) == [
        "User:i: lacks Write on topic detainer-declined",
        "User:i: lacks Write on topic detainer-issued",
        "User:i: lacks Write on topic week-attested",
    ]
