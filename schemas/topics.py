"""The Kafka topics, what they keep, and which partition a key goes to.

Services never create topics; `ddor topics apply` does, from this table.
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
    """A topic as it must be; `compacted` keeps the last record of each key, else all are kept forever."""

    name: str
    partitions: int
    compacted: bool = False
    max_message_bytes: int = 1_048_576

    def config(self, replication: int) -> dict[str, str]:
        """Topic configuration for a cluster that keeps `replication` copies."""
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
"""The topics that the aggregator reads; a week closes when every partition of them has been read to its barrier."""

TOPICS = (
    *EVENT_TOPICS,
    Topic(REPORT_READY, 1),
    Topic(REPORT_LATEST, 1, compacted=True),
    Topic(DETAINER_REJECTED, 1),
)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a record: CRC32 of its key, as librdkafka's `consistent` partitioner."""
    return zlib.crc32(key) % partitions
