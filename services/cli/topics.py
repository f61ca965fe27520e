"""`ddor topics apply`: create the topics and set their configuration, or show how they differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from schemas.topics import EVENT_TOPICS, TOPICS, Topic
from services.cli.terminal import FAILED, out, run
from services.runtime import kafka, settings
from services.runtime.errors import CallerError, ConfigurationError

MOST_PARTITIONS = 1_000
"""Of one topic. Each is a row that every batch of its owner locks, and a line in every report's vector."""


class CannotGrowError(CallerError):
    """This topic cannot be given so many partitions."""


app = typer.Typer(help="The Kafka topics. Services never create them; this does.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def apply(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if anything differs.")] = False,
) -> None:
    """Create what is missing and set what differs. Partitions are never added here: that moves keys; see `grow`."""
    run(_apply(check))


@app.command()
def grow(
    topic: Annotated[str, typer.Argument(help=f"One of {', '.join(one.name for one in EVENT_TOPICS)}.")],
    partitions: Annotated[int, typer.Argument(help="How many it shall have; there is no way back.")],
) -> None:
    """Add partitions to a topic of events, while all services run and whatever week is on its way.

    New partitions are read from their beginning. A detainer's later versions may lie in another partition than the
    earlier ones; the highest version wins wherever it lies. Ingest uses new partitions within half a minute.
    """
    run(_grow(topic, partitions))


async def _grow(name: str, wanted: int) -> None:
    if name not in {topic.name for topic in EVENT_TOPICS}:
        raise CannotGrowError(f"{name} is no topic of events; the others have one partition, which is their order")
    admin = AIOKafkaAdminClient(**kafka.client(settings.load(), "ddor-topics"))
    await admin.start()
    try:
        (described,) = await admin.describe_topics([name])
        there = len(described["partitions"])
        if not there < wanted <= MOST_PARTITIONS:
            raise CannotGrowError(f"{name} has {there} partitions; name more, and at most {MOST_PARTITIONS:,}")
        await admin.create_partitions({name: NewPartitions(wanted)})
    finally:
        await admin.close()
    out.print(f"{name}: {there} partitions before, {wanted} now")


async def _apply(check: bool) -> int:
    loaded = settings.load()
    admin = AIOKafkaAdminClient(**kafka.client(loaded, "ddor-topics"))
    await admin.start()
    try:
        there = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in there]
        present = [topic for topic in TOPICS if topic.name in there]
        drift = await _drift(admin, present, loaded.kafka_replication)
        for topic in missing:
            out.print(f"{topic.name}: {'is missing' if check else 'created'}, {topic.partitions} partitions")
        for line in drift.values():
            out.print("\n".join(line))
        if check:
            return FAILED if missing or drift else 0
        await _create(admin, missing, loaded.kafka_replication)
        await _configure(admin, [topic for topic in present if topic.name in drift], loaded.kafka_replication)
        if not missing and not drift:
            out.print("nothing to do: the topics are as they must be")
        return FAILED if any("partitions" in text for lines in drift.values() for text in lines) else 0
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: Iterable[Topic], replication: int) -> None:
    wanted = [
        NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.config(replication)) for topic in topics
    ]
    if not wanted:
        return
    response: Any = await admin.create_topics(wanted)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error.__name__ != "TopicAlreadyExistsError":
            hint = " Set DDOR_KAFKA_REPLICATION to the number of brokers." if "Replication" in error.__name__ else ""
            raise ConfigurationError(f"{name}: {error.__name__}: {message[0] if message else ''}{hint}")


async def _configure(admin: AIOKafkaAdminClient, topics: Iterable[Topic], replication: int) -> None:
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=topic.config(replication)) for topic in topics
    ]
    if resources:
        await admin.alter_configs(resources)


async def _drift(admin: AIOKafkaAdminClient, topics: list[Topic], replication: int) -> dict[str, list[str]]:
    """For each topic that differs, what differs, in words."""
    if not topics:
        return {}
    described = {one["topic"]: one for one in await admin.describe_topics([topic.name for topic in topics])}
    configs = await _configs(admin, topics)
    drift: dict[str, list[str]] = {}
    for topic in topics:
        lines = []
        partitions = len(described[topic.name]["partitions"])
        if partitions < topic.partitions or (partitions > topic.partitions and topic not in EVENT_TOPICS):
            lines.append(f"{topic.name}: has {partitions} partitions, must have {topic.partitions}")
        for name, value in topic.config(replication).items():
            found = configs.get(topic.name, {}).get(name)
            if found is not None and found != value:
                lines.append(f"{topic.name}: {name} is {found}, must be {value}")
        if lines:
            drift[topic.name] = lines
    return drift


async def _configs(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    responses: list[Any] = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    )
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }
