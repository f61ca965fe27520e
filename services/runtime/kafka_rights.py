"""The rights that each service needs in Kafka, as ACLs name them. `ddor topics apply --acls` grants them.

Write and Read of a topic include Describe, and Read and Write of a group or a transactional id do too. Write of any
topic permits an idempotent producer. docs/security.md has the same as a table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from schemas.topics import (
    DETAINER_DECLINED,
    DETAINER_ISSUED,
    DETAINER_REJECTED,
    EVENT_TOPICS,
    REPORT_LATEST,
    REPORT_READY,
    WEEK_ATTESTED,
)
from services.runtime.errors import CallerError

GROUP: Final = "ddor-aggregator"
"""The consumer group with a copy of the positions (`aggregator/lag.py`)."""
TRANSACTIONAL_ID: Final = "ddor-relay"
"""The transactional id of the publisher's relay."""
CLUSTER: Final = "kafka-cluster"
"""The name of the only resource of its kind."""


class Operation(IntEnum):
    """An operation, with its code in requests and as a bit of authorized operations."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12

    def __str__(self) -> str:
        return self.name.title().replace("_", "")


class Resource(IntEnum):
    """A kind of resource, with its code in requests."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Right(NamedTuple):
    """Permission for an operation on one resource."""

    operation: Operation
    resource: Resource
    name: str

    def __str__(self) -> str:
        if self.resource is Resource.CLUSTER:
            return f"{self.operation} on the cluster"
        return f"{self.operation} on {self.resource.name.lower().replace('_', ' ')} {self.name}"


class MissingRightError(CallerError):
    """Kafka denies an operation to the user of this process."""

    def __init__(self, *rights: Right) -> None:
        named = ", ".join(map(str, rights))
        super().__init__(
            f"Kafka denies this user {named}: run `ddor topics apply --acls` as an administrator of Kafka, or correct"
            " DDOR_KAFKA_SASL_USERNAME"
        )


def _topics(operation: Operation, *names: str) -> tuple[Right, ...]:
    return tuple(Right(operation, Resource.TOPIC, name) for name in names)


_EVENTS = tuple(topic.name for topic in EVENT_TOPICS)

WRITE_EVENTS: Final = _topics(Operation.WRITE, *_EVENTS)
READ_EVENTS: Final = _topics(Operation.READ, *_EVENTS)
DESCRIBE_EVENTS: Final = _topics(Operation.DESCRIBE, *_EVENTS)
VERIFY: Final = _topics(Operation.READ, DETAINER_ISSUED, DETAINER_DECLINED)
"""The publisher's comparison of each first revision with the log."""
RELAY: Final = (
    *_topics(Operation.WRITE, REPORT_READY, REPORT_LATEST, DETAINER_REJECTED),
    *_topics(Operation.READ, REPORT_READY, DETAINER_REJECTED),
)
"""The relay reads the two topics for messages that were sent and not marked; `recovery.py` reads `report-ready`."""
COMMIT: Final = Right(Operation.READ, Resource.GROUP, GROUP)
SEND: Final = Right(Operation.WRITE, Resource.TRANSACTIONAL_ID, TRANSACTIONAL_ID)
TIME: Final = Right(Operation.DESCRIBE, Resource.CLUSTER, CLUSTER)
"""Kafka's time (`publisher/kafka_time.py`)."""

INGEST: Final = WRITE_EVENTS
AGGREGATOR: Final = (*READ_EVENTS, COMMIT)
PUBLISHER: Final = (*VERIFY, *_topics(Operation.DESCRIBE, WEEK_ATTESTED), *RELAY, SEND, TIME)
OPERATOR: Final = (*READ_EVENTS, *_topics(Operation.READ, REPORT_READY), *WRITE_EVENTS)
"""The commands `status`, `trace`, `verify`, `recover` and `rejected redrive`. Only the last one writes."""


def read(topic: str) -> tuple[Right, ...]:
    """The right to read a topic."""
    return _topics(Operation.READ, topic)
