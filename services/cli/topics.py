"""`ddor topics apply`: create the topics and set their configuration, or show how they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import EVENT_TOPICS, TOPICS, Topic
from services.cli.terminal import FAILED, out, run
from services.runtime import kafka, settings
from services.runtime.errors import CallerError, ConfigurationError

_SET_ON_THE_TOPIC = 1
"""The source of an entry that somebody set on the topic itself (`DYNAMIC_TOPIC_CONFIG`); others are inherited."""
MOST_PARTITIONS = 1_000
"""Of one topic. Each is a row that every batch of its owner locks, and a line in every report's vector."""


class CannotGrowError(CallerError):
    """This topic cannot be given so many partitions."""


class _Config(NamedTuple):
    """A topic's configuration: what holds, and what of it was set on the topic itself."""

    values: Mapping[str, str]
    own: Mapping[str, str]


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
        new = missing if check else await _create(admin, missing, loaded.kafka_replication)
        for topic in new:
            out.print(f"{topic.name}: {'is missing' if check else 'created'}, {topic.partitions} partitions")
        present = [topic for topic in TOPICS if topic not in new]
        configs = await _configs(admin, present)
        drift = await _drift(admin, present, configs, loaded.kafka_replication)
        for line in drift.values():
            out.print("\n".join(line))
        if check:
            return FAILED if new or drift else 0
        await _configure(admin, [topic for topic in present if topic.name in drift], configs, loaded.kafka_replication)
        if not new and not drift:
            out.print("nothing to do: the topics are as they must be")
        return FAILED if any("partitions" in text for lines in drift.values() for text in lines) else 0
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication: int) -> list[Topic]:
    """Those that were created; one that is there already, unseen or just made, is left to be compared."""
    if not topics:
        return []
    response: Any = await admin.create_topics(
        [NewTopic(one.name, one.partitions, replication, topic_configs=one.config(replication)) for one in topics]
    )
    there = {name for name, code, *_ in response.topic_errors if code == TopicAlreadyExistsError.errno}
    _check(answer for answer in response.topic_errors if answer[0] not in there)
    return [topic for topic in topics if topic.name not in there]


async def _configure(
    admin: AIOKafkaAdminClient, topics: Iterable[Topic], configs: Mapping[str, _Config], replication: int
) -> None:
    """Set what must be. Kafka forgets what it is not told here, so what operators have set on a topic is told again."""
    resources = [
        ConfigResource(
            ConfigResourceType.TOPIC, topic.name, configs={**configs[topic.name].own, **topic.config(replication)}
        )
        for topic in topics
    ]
    if resources:
        responses: list[Any] = await admin.alter_configs(resources)
        _check((name, code, message) for one in responses for code, message, _, name in one.resources)


async def _drift(
    admin: AIOKafkaAdminClient, topics: list[Topic], configs: Mapping[str, _Config], replication: int
) -> dict[str, list[str]]:
    """For each topic that differs, what differs, in words."""
    if not topics:
        return {}
    described = {one["topic"]: one for one in await admin.describe_topics([topic.name for topic in topics])}
    drift: dict[str, list[str]] = {}
    for topic in topics:
        lines = []
        partitions = len(described[topic.name]["partitions"])
        if partitions < topic.partitions or (partitions > topic.partitions and topic not in EVENT_TOPICS):
            lines.append(f"{topic.name}: has {partitions} partitions, must have {topic.partitions}")
        for name, value in topic.config(replication).items():
            found = configs[topic.name].values.get(name)
            if found is not None and found != value:
                lines.append(f"{topic.name}: {name} is {found}, must be {value}")
        if lines:
            drift[topic.name] = lines
    return drift


async def _configs(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, _Config]:
    if not topics:
        return {}
    responses: list[Any] = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    )
    _check((resource[3], resource[0], resource[1]) for response in responses for resource in response.resources)
    return {
        resource[3]: _config(resource[4], response.API_VERSION)
        for response in responses
        for resource in response.resources
    }


def _config(entries: Iterable[tuple[Any, ...]], version: int) -> _Config:
    """The entries of a DescribeConfigs answer: name, value, read only, source (in version 0: is default), sensitive."""
    values, own = {}, {}
    for name, value, read_only, source, sensitive, *_ in entries:
        values[name] = value
        set_on_it = source == _SET_ON_THE_TOPIC if version > 0 else not source
        if set_on_it and not read_only and not sensitive:
            own[name] = value
    return _Config(values, own)


def _check(answers: Iterable[tuple[Any, ...]]) -> None:
    """ConfigurationError that names each topic of which the broker has refused something, and its error."""
    refused = []
    for name, code, *more in answers:
        if code:
            error = for_code(code).__name__
            hint = " Set DDOR_KAFKA_REPLICATION to the number of brokers." if "Replication" in error else ""
            refused.append(f"{name}: {error}: {(more and more[0]) or 'the broker says no more'}{hint}")
    if refused:
        raise ConfigurationError("; ".join(refused))
