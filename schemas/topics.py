"""The Kafka topics with their retention, and the partition of a key.

Services never create topics; `ddor topics apply` creates them from this table.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

DETAINER_ISSUED = "detainer-issued"
DETAINER_DECLINED = "detainer-declined"
DETAINER_REJECTED = "detainer-rejected"
WEEK_ATTESTED = "week-attested"
REPORT_READY = "report-ready"
REPORT_LATEST = "report-latest"

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
"""Value of the record header `content-type` (CloudEvents Kafka binding, structured mode)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """The required state of a topic. A compacted topic retains the last record of each key, others all records."""

    name: str
    partitions: int
    compacted: bool = False
    max_message_bytes: int = 1_048_576

    def config(self, replication: int) -> dict[str, str]:
        """The topic configuration for a replication factor of `replication`."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "min.insync.replicas": str(min(2, replication)),
            "unclean.leader.election.enable": "false",
            "max.message.bytes": str(self.max_message_bytes),
            "compression.type": "producer",
        }


EVENT_TOPICS = (Topic(DETAINER_ISSUED, 12), Topic(DETAINER_DECLINED, 12), Topic(WEEK_ATTESTED, 1))
"""The topics that the aggregator reads. A week closes when each of their partitions is read to the week's barrier."""

TOPICS = (
    *EVENT_TOPICS,
    Topic(REPORT_READY, 1),
    Topic(REPORT_LATEST, 1, compacted=True),
    Topic(DETAINER_REJECTED, 1),
)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: CRC32, like librdkafka's `consistent` partitioner."""
    return zlib.crc32(key) % partitions
