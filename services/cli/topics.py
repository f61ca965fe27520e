"""`ddor topics`: create the Kafka topics, set their configuration, compare it, and add partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import EVENT_TOPICS, TOPICS, Topic
from services.cli import acls as kafka_acls
from services.cli.console import FAILED, out, run
from services.runtime import kafka, settings
from services.runtime.errors import CallerError, ConfigurationError

_SET_ON_THE_TOPIC = 1
"""The source of a configuration entry set on the topic itself (`DYNAMIC_TOPIC_CONFIG`); others are inherited."""
MOST_PARTITIONS = 1_000
"""Per topic. Each partition is a row that its owner locks in every batch, and a line in every report's vector."""
_NAMES = ", ".join(topic.name for topic in EVENT_TOPICS)
_BY_HAND = "`ddor topics apply` does not change this"


class CannotGrowError(CallerError):
    """The topic cannot have this number of partitions."""


class _Config(NamedTuple):
    """A topic's configuration: the effective values, and those that are set on the topic itself."""

    values: Mapping[str, str]
    own: Mapping[str, str]


app = typer.Typer(help="Create and check the Kafka topics. Services never create topics.", no_args_is_help=True)


def _principal(whose: str) -> Any:
    """The option for the principal of a service."""
    return typer.Option(metavar="PRINCIPAL", help=f"With --acls: the principal of {whose}.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def apply(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Print differences and change nothing. Exit code 1 if there are any.")
    ] = False,
    acls: Annotated[
        bool, typer.Option("--acls", help="Also create the ACLs of the services (docs/security.md).")
    ] = False,
    ingest_principal: Annotated[str | None, _principal("ingest, default User:ddor-ingest")] = None,
    aggregator_principal: Annotated[str | None, _principal("aggregators, default User:ddor-aggregator")] = None,
    publisher_principal: Annotated[str | None, _principal("publishers, default User:ddor-publisher")] = None,
    operator_principal: Annotated[str | None, _principal("commands, default none")] = None,
) -> None:
    """Create missing topics and correct their configuration.

    Set DDOR_KAFKA_REPLICATION to the number of copies of each partition. The command does not change the number of
    partitions (see 'ddor topics grow') or of copies (see kafka-reassign-partitions) of an existing topic: it reports
    such a difference and ends with exit code 1.

    With --acls it creates missing ACLs (docs/security.md). It never deletes one: it reports rights of these principals
    beyond the list and ends with exit code 1. The user needs Describe and Alter on the cluster.

    Example: ddor topics apply --acls --ingest-principal User:CN=ddor-ingest
    """
    named = {
        "ingest": ingest_principal,
        "aggregator": aggregator_principal,
        "publisher": publisher_principal,
        "operator": operator_principal,
    }
    given = {name: principal for name, principal in named.items() if principal is not None}
    if given and not acls:
        raise typer.BadParameter("add --acls to grant the rights of a principal")
    run(_apply(check, kafka_acls.DEFAULTS | given if acls else None))


@app.command()
def grow(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help=f"The topic: {_NAMES}.")],
    partitions: Annotated[
        int,
        typer.Argument(metavar="PARTITIONS", help="New number of partitions, such as 24. It can never be lowered."),
    ],
) -> None:
    """Add partitions to an event topic. All services may be running and weeks may be open.

    Example: ddor topics grow detainer-issued 24

    Ingest uses new partitions within half a minute. Aggregators read them from the beginning. Later versions of a
    detainer may be in another partition than earlier ones; the highest version counts in any case.
    """
    run(_grow(topic, partitions))


async def _grow(name: str, wanted: int) -> None:
    if name not in {topic.name for topic in EVENT_TOPICS}:
        raise CannotGrowError(
            f"{name} is not an event topic ({_NAMES}); other topics have one partition for their order"
        )
    admin = AIOKafkaAdminClient(**kafka.client(settings.load(), "ddor-topics"))
    try:
        await kafka.start(admin.start)
        (described,) = await admin.describe_topics([name])
        there = len(described["partitions"])
        if not there < wanted <= MOST_PARTITIONS:
            raise CannotGrowError(f"{name} has {there} partitions: give a higher number, at most {MOST_PARTITIONS:,}")
        await admin.create_partitions({name: NewPartitions(wanted)})
    finally:
        await admin.close()
    out.print(f"{name}: {there} partitions before, {wanted} now")


async def _apply(check: bool, principals: Mapping[str, str] | None = None) -> int:
    wanted = None if principals is None else kafka_acls.required(principals)
    loaded = settings.load()
    admin = AIOKafkaAdminClient(**kafka.client(loaded, "ddor-topics"))
    try:
        await kafka.start(admin.start)
        code = await _apply_topics(admin, check, loaded.kafka_replication)
        return code if wanted is None else max(code, await _apply_acls(admin, wanted, check))
    finally:
        await admin.close()


async def _apply_acls(admin: AIOKafkaAdminClient, wanted: set[kafka_acls.Acl], check: bool) -> int:
    present = await kafka_acls.present(admin, {one.principal for one in wanted})
    drift = kafka_acls.drift(wanted, present)
    if not check:
        await kafka_acls.create(admin, drift.missing)
    for line in drift.lines("lacks" if check else "granted"):
        out.print(line)
    if not drift.missing and not drift.beyond:
        out.print("nothing to do: all principals have exactly their rights")
    return FAILED if drift.beyond or (check and drift.missing) else 0


async def _apply_topics(admin: AIOKafkaAdminClient, check: bool, replication: int) -> int:
    there = set(await admin.list_topics())
    missing = [topic for topic in TOPICS if topic.name not in there]
    new = missing if check else await _create(admin, missing, replication)
    for topic in new:
        out.print(f"{topic.name}: {'is missing' if check else 'created'}, {topic.partitions} partitions")
    present = [topic for topic in TOPICS if topic not in new]
    configs = await _configs(admin, present)
    drift = await _drift(admin, present, configs, replication)
    for line in drift.values():
        out.print("\n".join(line))
    if not new and not drift:
        out.print("nothing to do: all topics have the right configuration")
    if check:
        return FAILED if new or drift else 0
    await _configure(admin, [topic for topic in present if topic.name in drift], configs, replication)
    return FAILED if any(_BY_HAND in text for lines in drift.values() for text in lines) else 0


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication: int) -> list[Topic]:
    """Returns the topics that were created. A topic that exists already is compared afterwards."""
    if not topics:
        return []
    response: Any = await admin.create_topics(
        [NewTopic(one.name, one.partitions, replication, topic_configs=one.config(replication)) for one in topics]
    )
    there = {name for name, code, *_ in response.topic_errors if code == TopicAlreadyExistsError.errno}
    _check(result for result in response.topic_errors if result[0] not in there)
    return [topic for topic in topics if topic.name not in there]


async def _configure(
    admin: AIOKafkaAdminClient, topics: Iterable[Topic], configs: Mapping[str, _Config], replication: int
) -> None:
    """Set the required configuration. The request replaces all entries of a topic, so it repeats the operators' own."""
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
    """The differences of each topic that has any, as sentences."""
    if not topics:
        return {}
    described = {one["topic"]: one for one in await admin.describe_topics([topic.name for topic in topics])}
    drift: dict[str, list[str]] = {}
    for topic in topics:
        lines = []
        partitions = len(described[topic.name]["partitions"])
        if partitions < topic.partitions or (partitions > topic.partitions and topic not in EVENT_TOPICS):
            grow = f": use `ddor topics grow {topic.name} {topic.partitions}`" if topic in EVENT_TOPICS else ""
            lines.append(f"{topic.name}: has {partitions} partitions, must have {topic.partitions}; {_BY_HAND}{grow}")
        copies = sorted({len(one["replicas"]) for one in described[topic.name]["partitions"]})
        if copies != [replication]:
            found = " or ".join(map(str, copies))
            must = f"must have {replication} (DDOR_KAFKA_REPLICATION); {_BY_HAND}: use kafka-reassign-partitions"
            lines.append(f"{topic.name}: has {found} copies of a partition, {must}")
        for name, value in topic.config(replication).items():
            is_set = configs[topic.name].values.get(name)
            if is_set is not None and is_set != value:
                lines.append(f"{topic.name}: {name} is {is_set}, must be {value}")
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
    """The entries of a DescribeConfigs response: name, value, read-only, source (version 0: is default), sensitive."""
    values, own = {}, {}
    for name, value, read_only, source, sensitive, *_ in entries:
        values[name] = value
        set_on_it = source == _SET_ON_THE_TOPIC if version > 0 else not source
        if set_on_it and not read_only and not sensitive:
            own[name] = value
    return _Config(values, own)


def _check(results: Iterable[tuple[Any, ...]]) -> None:
    """Raises ConfigurationError, with the error of each topic for which the broker refused the request."""
    refused = []
    for name, code, *more in results:
        if code:
            error = for_code(code).__name__
            hint = " Set DDOR_KAFKA_REPLICATION to the number of brokers." if "Replication" in error else ""
            refused.append(f"{name}: {error}: {(more and more[0]) or 'the broker gives no details'}{hint}")
    if refused:
        raise ConfigurationError("; ".join(refused))
