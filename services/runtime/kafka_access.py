"""Requests from Kafka which operations on topics this user may do, so that an error names the right that is missing.

Without this, most requests without a right fail as if the topic or the broker were unavailable. aiokafka lacks this
version of the request (KIP-430); its format is in https://kafka.apache.org/protocol.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from services.runtime import kafka
from services.runtime.kafka_rights import MissingRightError, Operation, Right

_KEY = 3
_VERSION = 8
_SECONDS = 3.0
"""Time limit of a check. A Kafka that does not respond is reported by the requests that follow."""
_SECONDS_REPEATED = 1.0
EVERY_SECONDS = 5.0
"""Between two checks of a running session."""


class _MetadataResponse(Response):
    API_KEY = _KEY
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String()), ("port", Int32), ("rack", String()))),
        ("cluster_id", String()),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):
    API_KEY = _KEY
    API_VERSION = _VERSION
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String())),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Metadata(Request[_MetadataStruct]):
    API_KEY: ClassVar[int] = _KEY

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataStruct]) -> _MetadataStruct:
        return request_struct_class(self._topics, False, False, True)


class AccessCheck:
    """Repeats `check_on` for a running session, at most every five seconds."""

    def __init__(self, rights: Iterable[Right], clock: Callable[[], float] = time.monotonic) -> None:
        self._rights = tuple(rights)
        self._clock = clock
        self._at = clock()

    async def repeat(self, client: AIOKafkaClient) -> None:
        """Raises MissingRightError."""
        if self._clock() - self._at >= EVERY_SECONDS:
            self._at = self._clock()
            await check_on(client, self._rights, _SECONDS_REPEATED)


async def check(settings: Mapping[str, Any], rights: Iterable[Right]) -> None:
    """Raises MissingRightError if the user of these client settings lacks one of these rights on topics.

    Raises KafkaError if no broker responds.
    """
    client = AIOKafkaClient(**settings)
    try:
        await kafka.start(client.bootstrap)
        await check_on(client, rights)
    finally:
        await client.close()


async def check_on(client: AIOKafkaClient, rights: Iterable[Right], seconds: float = _SECONDS) -> None:
    """The same over a connected client. If a broker does not respond in time, or is too old, nothing is raised."""
    wanted = tuple(rights)
    try:
        async with asyncio.timeout(seconds):
            topics = await _topics(client, sorted({right.name for right in wanted}))
    except TimeoutError:
        return
    if missing := lacking(wanted, topics):
        raise MissingRightError(*missing)


async def _topics(client: AIOKafkaClient, names: Sequence[str]) -> Sequence[Any]:
    """The topics of the response of one broker; empty if it does not respond or is too old."""
    node = client.get_random_node()
    if node is None:
        return ()
    try:
        response = await client.send(node, _Metadata(names))
    except (KafkaError, IncompatibleBrokerVersion, NotImplementedError):
        return ()  # no second broker: the client may have been closed meanwhile, and would connect again
    topics: Sequence[Any] = response.topics
    return topics


_DENIED: Final = TopicAuthorizationFailedError.errno


def lacking(rights: Iterable[Right], topics: Iterable[Sequence[Any]]) -> list[Right]:
    """The rights that a response does not confirm. A topic that is missing from Kafka lacks none.

    A topic with Describe has its authorized operations. Without Describe, it has an error instead. An operation without
    either is unknown: the broker does not support this field.
    """
    operations = {
        name: 0 if error == _DENIED else allowed
        for error, name, _, _, allowed in topics
        if error == _DENIED or (error == 0 and allowed > 0 and allowed >> Operation.DESCRIBE & 1)
    }
    return [one for one in rights if one.name in operations and not operations[one.name] >> one.operation & 1]
