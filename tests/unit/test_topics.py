"""schemas.topics: partitions are those of librdkafka's `consistent`, and topics keep what must be kept."""

from __future__ import annotations

import pytest

from schemas import topics
from schemas.topics import TOPICS, partition_of


@pytest.mark.parametrize(
    ("key", "crc32"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xCBF43926),
        (b"The quick brown fox jumps over the lazy dog", 0x414FA339),
        (b"3f0c1d2e-6a7b-4c8d-9e0f-1a2b3c4d5e6f", 0xBA47A354),
    ],
)
def test_a_keys_partition_is_its_crc32_modulo_the_partitions(key: bytes, crc32: int) -> None:
    for partitions in (1, 2, 12, 97):
        assert partition_of(key, partitions) == crc32 % partitions


def test_the_names_and_partitions_are_the_contract() -> None:
    assert {topic.name: topic.partitions for topic in TOPICS} == {
        "detainer-issued": 12,
        "detainer-declined": 12,
        "week-attested": 1,
        "report-ready": 1,
        "report-latest": 1,
        "detainer-rejected": 1,
    }
    assert [topic.name for topic in topics.EVENT_TOPICS] == ["detainer-issued", "detainer-declined", "week-attested"]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "2"), (3, "2")])
def test_every_topic_is_kept_forever_and_never_elects_an_unclean_leader(
    topic: topics.Topic, replication: int, in_sync: str
) -> None:
    config = topic.config(replication)
    assert config["cleanup.policy"] == ("compact" if topic.name == "report-latest" else "delete")
    assert (config["retention.ms"], config["retention.bytes"]) == ("-1", "-1")
    assert config["unclean.leader.election.enable"] == "false"
    assert config["min.insync.replicas"] == in_sync
    assert config["compression.type"] == "producer", "a broker's own default must not compress anew"
