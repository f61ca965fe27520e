"""schemas.topics: partitions match librdkafka's `consistent`, and topics have the right configuration."""

from __future__ import annotations

import pytest

from schemas import topics
from schemas.topics import TOPICS, partition_of
from services.cli.topics import _config


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
def test_every_topic_has_no_retention_limit_and_no_unclean_election(
    topic: topics.Topic, replication: int, in_sync: str
) -> None:
    config = topic.config(replication)
    assert config["cleanup.policy"] == ("compact" if topic.name == "report-latest" else "delete")
    assert (config["retention.ms"], config["retention.bytes"]) == ("-1", "-1")
    assert config["unclean.leader.election.enable"] == "false"
    assert config["min.insync.replicas"] == in_sync
    assert config["compression.type"] == "producer", "a broker's own default must not recompress"


@pytest.mark.parametrize(
    ("version", "on_the_topic", "of_the_broker", "default"), [(0, False, True, True), (1, 1, 4, 5)]
)
def test_own_and_inherited_entries_are_distinguished_in_each_version_of_the_response(
    version: int, on_the_topic: int, of_the_broker: int, default: int
) -> None:
    entries = [
        ("segment.bytes", "1048576", False, on_the_topic, False),
        ("retention.ms", "604800000", False, default, False),
        ("compression.type", "producer", False, of_the_broker, False),
        ("of.the.broker.alone", "1", True, on_the_topic, False),
        ("a.secret", None, False, on_the_topic, True),
    ]
    found = _config([(*entry, []) if version else entry for entry in entries], version)
    assert found.own == {"segment.bytes": "1048576"}
    assert found.values["retention.ms"] == "604800000"
