"""Reads the time of Kafka from the leader of the controller quorum (DescribeQuorum, KIP-595 and KIP-836).

No other response contains the time of a broker, except for a record on a topic with broker timestamps. aiokafka lacks
this request; its format is in https://kafka.apache.org/protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ClusterAuthorizationFailedError, IncompatibleBrokerVersion, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from services.runtime.kafka_rights import TIME, MissingRightError

_KEY = 55
_TOPIC = "__cluster_metadata"
_REPLICAS = CompactArray(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    ("tags", TaggedFields),
)


class _DescribeQuorumResponse(Response):
    API_KEY = _KEY
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("voters", _REPLICAS),
                        ("observers", _REPLICAS),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeQuorumStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = _KEY
    API_VERSION = 1
    RESPONSE_TYPE = _DescribeQuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                ("partitions", CompactArray(("partition", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeQuorum(Request[_DescribeQuorumStruct]):
    API_KEY: ClassVar[int] = _KEY

    def build(self, request_struct_class: type[_DescribeQuorumStruct]) -> _DescribeQuorumStruct:
        return request_struct_class([(_TOPIC, [(0, {})], {})], {})


class KafkaTimeUnavailableError(Exception):
    """Kafka does not report its time. The message is the reason."""


async def time_of(consumer: AIOKafkaConsumer) -> datetime:
    """The time of the leading controller, in UTC. KafkaTimeUnavailableError if Kafka is too old or denies it."""
    node = consumer._client.get_random_node()
    try:
        response = await consumer._client.send(node, _DescribeQuorum())
    except (IncompatibleBrokerVersion, NotImplementedError) as error:
        raise KafkaTimeUnavailableError("it does not support the request DescribeQuorum") from error
    return _leader_time(response.error_code, response.topics)


def _leader_time(code: int, topics: Sequence[Any]) -> datetime:
    """The time of the leader: its last fetch timestamp, which is always current."""
    codes = [code, *(partition[1] for _, partitions, _ in topics for partition in partitions)]
    if failed := [one for one in codes if one]:
        error = for_code(failed[0])
        if error is ClusterAuthorizationFailedError:
            denied = MissingRightError(TIME)
            raise KafkaTimeUnavailableError(str(denied)) from denied
        raise KafkaTimeUnavailableError(error.__name__)
    for partition in (one for _, partitions, _ in topics for one in partitions):
        leader, voters = partition[2], partition[5]
        for voter in voters:
            replica, fetched_at = voter[0], voter[2]
            if replica == leader and fetched_at > 0:
                return datetime.fromtimestamp(fetched_at / 1000, UTC)
    raise KafkaTimeUnavailableError("its response names no leader")
