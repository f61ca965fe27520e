"""`ddor topics apply` on a real Kafka: creates, corrects, and shows drift."""

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

pytestmark = pytest.mark.real_kafka("keeps no topic configuration and creates topics by itself")


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


async def test_topics_are_created_as_they_must_be_and_applied_twice(own_kafka: KafkaPart) -> None:
    await _delete(own_kafka, *(topic.name for topic in TOPICS))
    code, said = await _apply(own_kafka, "--check")
    assert (code, said.count("is missing")) == (1, len(TOPICS)), said
    code, said = await _apply(own_kafka)
    assert (code, said.count("created")) == (0, len(TOPICS)), said
    assert await _partitions(own_kafka) == {topic.name: topic.partitions for topic in TOPICS}
    assert (await _apply(own_kafka, "--check"))[0] == 0
    code, said = await _apply(own_kafka)
    assert (code, "nothing to do" in said) == (0, True), said


async def test_a_changed_setting_is_drift_and_is_put_right(own_kafka: KafkaPart) -> None:
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        changed = {**TOPICS[0].config(1), "retention.ms": "86400000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "detainer-issued", configs=changed)])
    code, said = await _apply(own_kafka, "--check")
    assert (code, "detainer-issued: retention.ms is 86400000, must be -1" in said) == (1, True), said
    assert (await _apply(own_kafka))[0] == 0
    assert (await _apply(own_kafka, "--check")) == (0, "")


async def _set(admin: AIOKafkaAdminClient, topic: str, **configs: str) -> None:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    responses: list[Any] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)])
    assert [code for one in responses for code, *_ in one.resources] == [0]


async def _entries(admin: AIOKafkaAdminClient, topic: str, *names: str) -> dict[str, tuple[str, int]]:
    """Value and source of each of these entries of a topic's configuration."""
    asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(names, ""))
    responses: list[Any] = await admin.describe_configs([asked])
    return {entry[0]: (entry[1], entry[3]) for one in responses for entry in one.resources[0][4]}


async def test_what_operators_have_set_stays_when_something_else_is_put_right(own_kafka: KafkaPart) -> None:
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
    assert inherited[1] != set_on_it, "what holds for all topics is left to be so"
    assert (await _apply(own_kafka, "--check")) == (0, "")


async def test_what_the_broker_refuses_to_set_is_said_and_fails(
    own_kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that no broker takes, beside one that is in order: the topics are told at once, answered one by one."""
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


async def test_what_cannot_be_looked_at_is_no_topic_without_drift(own_kafka: KafkaPart) -> None:
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        with pytest.raises(ConfigurationError, match=r"^not-there: UnknownTopicOrPartitionError: .+"):
            await topics._configs(admin, [TOPICS[0], Topic("not-there", 1)])


async def test_a_topic_that_is_not_shown_and_is_there_is_compared_and_not_said_to_be_created(
    own_kafka: KafkaPart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for an account that may not describe it, or when another creates it in this moment."""

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
    said = capsys.readouterr().out
    assert "created" not in said
    assert "report-ready: retention.ms is 604800000, must be -1" in said


async def test_more_partitions_are_drift_that_is_never_put_right_silently(own_kafka: KafkaPart) -> None:
    """Adding partitions moves keys; taking them away is not possible at all."""
    await _delete(own_kafka, "detainer-rejected")
    async with kafka_log.admin(own_kafka.bootstrap) as admin:
        await admin.create_topics([NewTopic("detainer-rejected", 3, 1)])
    try:
        for more in ((), ("--check",)):
            code, said = await _apply(own_kafka, *more)
            assert (code, "detainer-rejected: has 3 partitions, must have 1" in said) == (1, True), said
    finally:
        await _delete(own_kafka, "detainer-rejected")
        assert (await _apply(own_kafka))[0] == 0


async def test_too_few_brokers_are_said_in_words(own_kafka: KafkaPart) -> None:
    await _delete(own_kafka, "week-attested")
    try:
        code, said = await _apply(own_kafka, DDOR_KAFKA_REPLICATION="3")
        assert code == 2
        assert "DDOR_KAFKA_REPLICATION" in said
        assert "Traceback" not in said
    finally:
        await _apply(own_kafka)
