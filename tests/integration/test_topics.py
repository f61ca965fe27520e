"""`ddor topics apply` on a real Kafka: creates topics, corrects them, and reports drift."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.parts import KafkaPart
from schemas.topics import TOPICS, Topic
from services.cli import topics
from services.runtime.errors import ConfigurationError
from services.runtime.settings import Settings
from tests.support import kafka_log
from tests.support.commands import ddor
from tests.support.waiting import until

pytestmark = pytest.mark.real_kafka("stores no topic configuration and creates topics automatically")


WELL = (0, "nothing to do: all topics have the right configuration\n")


async def _apply(kafka: KafkaPart, *more: str, **variables: str) -> tuple[int, str]:
    done = await ddor(Settings(kafka_bootstrap=kafka.bootstrap), "topics", "apply", *more, **variables)
    return done.exit_code, done.output


async def _delete(kafka: KafkaPart, *names: str) -> None:
    async with kafka_log.admin(kafka.bootstrap) as admin:
        await admin.delete_topics(list(names))

        async def gone() -> bool:
            return not set(names) & set(await admin.list_topics())

        await until(gone, "the topics deleted")


async def _partitions(kafka: KafkaPart) -> dict[str, int]:
    async with kafka_log.admin(kafka.bootstrap) as admin:
        described = await admin.describe_topics([topic.name for topic in TOPICS])
    return {one["topic"]: len(one["partitions"]) for one in described}


async def test_topics_are_created_and_apply_is_idempotent(own_kafka: KafkaPart) -> None:
    await _delete(own_kafka, *(topic.name for topic in TOPICS))
    code, output = await _apply(own_kafka, "--check")
    assert (code, output.count("is missing")) == (1, len(TOPICS)), output
    code, output = await _apply(own_kafka)
    assert (code, output.count("created")) == (0, len(TOPICS)), output
    assert await _partitions(own_kafka) == {topic.name: topic.partitions for topic in TOPICS}
    assert await _apply(own_kafka, "--check") == WELL
    code, output = await _apply(own_kafka)
    assert (code, "nothing to do" in output) == (0, True), output


async def test_a_changed_setting_is_drift_and_is_corrected(own_kafka: KafkaPart) -> None:
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        changed = {**TOPICS[0].config(1), "retention.ms": "86400000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "detainer-issued", configs=changed)])
    code, output = await _apply(own_kafka, "--check")
    assert (code, "detainer-issued: retention.ms is 86400000, must be -1" in output) == (1, True), output
    assert (await _apply(own_kafka))[0] == 0
    assert (await _apply(own_kafka, "--check")) == WELL


async def _set(admin: AIOKafkaAdminClient, topic: str, **configs: str) -> None:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    responses: list[Any] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)])
    assert [code for one in responses for code, *_ in one.resources] == [0]


async def _entries(admin: AIOKafkaAdminClient, topic: str, *names: str) -> dict[str, tuple[str, int]]:
    """Value and source of these entries of a topic's configuration."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(names, ""))
    responses: list[Any] = await admin.describe_configs([resource])
    return {entry[0]: (entry[1], entry[3]) for one in responses for entry in one.resources[0][4]}


async def test_settings_of_operators_stay_when_another_is_corrected(own_kafka: KafkaPart) -> None:
    theirs = {"segment.bytes": "104857600", "file.delete.delay.ms": "90000"}
    topic = "detainer-declined"
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        await _set(admin, topic, retention_ms="604800000", segment_bytes="104857600", file_delete_delay_ms="90000")
        inherited = (await _entries(admin, topic, "segment.ms"))["segment.ms"]
        assert (await _apply(own_kafka))[0] == 0
        found = await _entries(admin, topic, *theirs, "retention.ms", "segment.ms")
    set_on_it = topics._SET_ON_THE_TOPIC
    assert found == {
        "retention.ms": ("-1", set_on_it),
        **{name: (value, set_on_it) for name, value in theirs.items()},
        "segment.ms": inherited,
    }
    assert inherited[1] != set_on_it, "an inherited setting stays inherited"
    assert (await _apply(own_kafka, "--check")) == WELL


async def test_a_setting_that_the_broker_refuses_is_reported(
    own_kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One topic has an invalid value, another a valid one. Both are in one request, with a result for each."""
    (report_ready,) = [topic for topic in TOPICS if topic.name == "report-ready"]
    monkeypatch.setattr(topics, "TOPICS", (Topic("detainer-rejected", 1, max_message_bytes=-5), report_ready))
    monkeypatch.setattr(
        "services.cli.topics.settings.load",
        lambda: Settings(kafka_bootstrap=own_kafka.bootstrap, kafka_replication=1),
    )
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        await _set(admin, "report-ready", retention_ms="604800000")
        with pytest.raises(ConfigurationError, match=r"^detainer-rejected: InvalidConfig\w*: [^;]*max\.message\.bytes"):
            await topics._apply(False)
        assert (await _entries(admin, "report-ready", "retention.ms"))["retention.ms"][0] == "-1"
    assert "nothing to do" not in capsys.readouterr().out


async def test_a_topic_that_cannot_be_described_is_an_error(own_kafka: KafkaPart) -> None:
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        with pytest.raises(ConfigurationError, match=r"^not-there: UnknownTopicOrPartitionError: .+"):
            await topics._configs(admin, [TOPICS[0], Topic("not-there", 1)])


async def test_an_existing_topic_that_is_not_listed_is_compared(
    own_kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with an account that may not describe it, or if another process creates it at the same time."""

    async def none(_admin: AIOKafkaAdminClient) -> list[str]:
        return []

    monkeypatch.setattr(AIOKafkaAdminClient, "list_topics", none)
    monkeypatch.setattr(
        "services.cli.topics.settings.load",
        lambda: Settings(kafka_bootstrap=own_kafka.bootstrap, kafka_replication=1),
    )
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        await _set(admin, "report-ready", retention_ms="604800000")
        assert await topics._apply(False) == 0
        assert (await _entries(admin, "report-ready", "retention.ms"))["retention.ms"][0] == "-1"
    output = capsys.readouterr().out
    assert "created" not in output
    assert "report-ready: retention.ms is 604800000, must be -1" in output


async def test_more_partitions_are_drift_that_is_never_corrected(own_kafka: KafkaPart) -> None:
    """Adding partitions moves keys; removing them is impossible."""
    await _delete(own_kafka, "detainer-rejected")
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        await admin.create_topics([NewTopic("detainer-rejected", 3, 1)])
    try:
        for more in ((), ("--check",)):
            code, output = await _apply(own_kafka, *more)
            assert (code, "detainer-rejected: has 3 partitions, must have 1" in output) == (1, True), output
    finally:
        await _delete(own_kafka, "detainer-rejected")
        assert (await _apply(own_kafka))[0] == 0


async def test_too_few_brokers_are_reported(own_kafka: KafkaPart) -> None:
    await _delete(own_kafka, "week-attested")
    try:
        code, output = await _apply(own_kafka, DDOR_KAFKA_REPLICATION="3")
        assert code == 2
        assert "DDOR_KAFKA_REPLICATION" in output
        assert "Traceback" not in output
    finally:
        await _apply(own_kafka)


async def test_another_replication_factor_is_drift_that_is_not_corrected(own_kafka: KafkaPart) -> None:
    """One copy instead of three: losing a disk loses acknowledged records."""
    for more in ((), ("--check",)):
        code, output = await _apply(own_kafka, *more, DDOR_KAFKA_REPLICATION="3")
        wanted = "detainer-issued: has 1 copies of a partition, must have 3 (DDOR_KAFKA_REPLICATION)"
        assert (code, wanted in output, "nothing to do" in output) == (1, True, False), output
    assert (await _apply(own_kafka))[0] == 0
