"""`ddor topics apply` on a real Kafka: creates, corrects, and shows drift."""

from __future__ import annotations

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.parts import KafkaPart
from schemas.topics import TOPICS
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
