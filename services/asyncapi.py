"""Write the AsyncAPI document to docs/asyncapi: `python -m services.asyncapi`. With `--check`, compare only.

Channels and operations come from FastStream's specification of what `declare` in each service's `app.py` declares. The
rest is added here: payloads from the JSON Schemas of `schemas.export`, keys and headers from `_MESSAGES`, partitions
and retention from `schemas.topics`. Nothing connects to Kafka.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from schemas import export
from schemas.topics import (
    CONTENT_TYPE,
    DETAINER_DECLINED,
    DETAINER_ISSUED,
    DETAINER_REJECTED,
    REPORT_LATEST,
    REPORT_READY,
    TOPICS,
    WEEK_ATTESTED,
    Topic,
)
from services.aggregator import app as aggregator
from services.aggregator.spans import Record
from services.ingest import app as ingest
from services.publisher import app as publisher

FOLDER: Final = Path(__file__).parents[1] / "docs" / "asyncapi"
COMMAND: Final = "python -m services.asyncapi"

_REPLICATION = 3
_BINDING = "0.5.0"
_UUID = {"type": "string", "format": "uuid", "description": "detainer_id. The partition is CRC32 of the key."}
_WEEK = {"type": "string", "format": "date", "description": "First day of the week."}
_RECORD_PARTITION = {"type": "string", "description": "topic/partition of the record that was rejected."}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Message:
    """Records of one topic: the names of their schemas, the Kafka key, and headers by name with their descriptions.

    `optional` headers are not in every record.
    """

    schemas: tuple[str, ...]
    key: Document
    headers: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)


_ID = {"id": "The event's id. It is the same each time a report is sent, so consumers can skip duplicates."}
_TRACE = {
    "traceparent": "The span of ingest (W3C Trace Context), if the request is sampled. Not the attribute of the event.",
    "tracestate": "As traceparent.",
}
_MESSAGES: Final = {
    DETAINER_ISSUED: _Message(("detainer-issued",), _UUID, optional=_TRACE),
    DETAINER_DECLINED: _Message(("detainer-declined",), _UUID, optional=_TRACE),
    WEEK_ATTESTED: _Message(("week-attested",), _WEEK, optional=_TRACE),
    DETAINER_REJECTED: _Message(
        ("detainer-rejected",), _RECORD_PARTITION, headers={"id": "topic/partition/offset of the record."}
    ),
    REPORT_READY: _Message(("report-ready", "report-final"), _WEEK, headers=_ID),
    REPORT_LATEST: _Message(("report-ready",), _WEEK, headers=_ID),
}
_CHANNELS: Final = {
    DETAINER_ISSUED: "Issued detainers as sent by agencies, all versions.",
    DETAINER_DECLINED: "Declined detainers as sent by agencies, all versions.",
    WEEK_ATTESTED: "Agencies' own counts of their weeks, as sent, all versions.",
    DETAINER_REJECTED: "The address of each rejected record and the reason. Never its content.",
    REPORT_READY: "All revisions of all weekly reports in order of publication, and an event when a week is final.",
    REPORT_LATEST: "The newest revision of each week's report.",
}


async def _discard(_: Sequence[Record]) -> None:
    """The subscriber's handler. Never called: the brokers do not start."""


def brokers() -> dict[str, KafkaBroker]:
    """By service: a broker with the declarations that the running service makes."""
    found = {service: KafkaBroker("127.0.0.1:9092") for service in ("ingest", "aggregator", "publisher")}
    ingest.declare(found["ingest"])
    aggregator.declare(found["aggregator"], _discard)
    publisher.declare(found["publisher"])
    return found


def document() -> Document:
    """The whole AsyncAPI document."""
    operations: Document = {}
    for service, broker in brokers().items():
        operations |= _operations(service, AsyncAPI(broker, schema_version="3.0.0").to_specification().to_jsonable())
    topics = [topic for topic in TOPICS if topic.name in {one["channel"]["$ref"][11:] for one in operations.values()}]
    messages = {name: _message(name, topic.name) for topic in topics for name in _MESSAGES[topic.name].schemas}
    schemas: Document = {}
    for name, schema in export.documents().items():
        if name in messages:
            _hoist(name, schema, schemas)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The weekly detainer report",
            "version": "1",
            "license": {"name": "Apache-2.0"},
            "description": "CloudEvents 1.0 in structured mode, one per record. Consumers read committed records only "
            "and ignore unknown fields of `data`.",
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {"kafka": _server()},
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
        },
    }


def _operations(service: str, specified: Document) -> Document:
    """The operations of one service, named service-action-topic. FastStream's names contain function names."""
    found: Document = {}
    for operation in specified["operations"].values():
        channel = specified["channels"][unquote(operation["channel"]["$ref"].removeprefix("#/channels/"))]
        topic = channel["address"]
        reference = {"$ref": f"#/channels/{topic}"}
        found[f"{service}-{operation['action']}-{topic}"] = {
            "action": operation["action"],
            "channel": reference,
            "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in _MESSAGES[topic].schemas],
            "summary": f"{service} {'receives' if operation['action'] == 'receive' else 'sends'} {topic}",
            **({"description": channel["description"]} if channel.get("description") else {}),
        }
    return found


def _server() -> Document:
    return {
        "host": "{bootstrap}",
        "protocol": "kafka",
        "description": "Apache Kafka. DDOR_KAFKA_SECURITY_PROTOCOL and DDOR_KAFKA_SASL_* set encryption and login.",
        "variables": {"bootstrap": {"default": "127.0.0.1:9092", "description": "DDOR_KAFKA_BOOTSTRAP"}},
    }


def _channel(topic: Topic) -> Document:
    config: Document = {
        key: int(value) if value.removeprefix("-").isdecimal() else value
        for key, value in topic.config(_REPLICATION).items()
    }
    config["cleanup.policy"] = config["cleanup.policy"].split(",")
    binding = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "replicas": _REPLICATION,
        "topicConfiguration": config,
        "bindingVersion": _BINDING,
    }
    return {
        "address": topic.name,
        "description": _CHANNELS[topic.name],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _MESSAGES[topic.name].schemas},
        "servers": [{"$ref": "#/servers/kafka"}],
        "bindings": {"kafka": binding},
    }


def _message(name: str, topic: str) -> Document:
    message = _MESSAGES[topic]
    headers = {"content-type": {"type": "string", "const": CONTENT_TYPE}}
    headers |= {header: {"type": "string", "description": text} for header, text in message.headers.items()}
    optional = {header: {"type": "string", "description": text} for header, text in message.optional.items()}
    return {
        "name": name,
        "title": name,
        "contentType": "application/cloudevents+json",
        "headers": {"type": "object", "properties": headers | optional, "required": sorted(headers)},
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"kafka": {"key": message.key, "bindingVersion": _BINDING}},
    }


def _hoist(name: str, schema: Document, schemas: Document) -> None:
    """Add a JSON Schema and its `$defs` to `schemas`, and rewrite its references to match."""
    own = {key: value for key, value in schema.items() if key not in ("$defs", "$id", "$schema")}
    for key, value in {name: own, **schema.get("$defs", {})}.items():
        moved = json.loads(json.dumps(value).replace('"#/$defs/', '"#/components/schemas/'))
        assert schemas.setdefault(key, moved) == moved, f"two different schemas have the name {key}"


def table(described: Document) -> str:
    """The README next to the document: a table of topics with senders and receivers."""
    lines = [_HEAD]
    for topic, channel in described["channels"].items():
        sends, receives = (_services(described, topic, action) for action in ("send", "receive"))
        name = next(iter(channel["messages"]))
        binding = channel["bindings"]["kafka"]
        [policy] = binding["topicConfiguration"]["cleanup.policy"]
        retention = "latest per key" if policy == "compact" else "all, forever"
        key = described["components"]["messages"][name]["bindings"]["kafka"]["key"]["description"]
        lines.append(
            f"| `{topic}` | {sends} | {receives or 'consumers'} | {key} | {binding['partitions']} | {retention} |"
        )
    return "\n".join(lines) + "\n"


_HEAD = f"""# Topics

[asyncapi.json](asyncapi.json) is an AsyncAPI 3 document for generators and viewers: channels, messages, headers, keys
and topic configuration. `{COMMAND}` generates it and this page from the services' declarations; a test
fails if they are out of date. Payloads are the JSON Schemas in [schemas/golden](../../schemas/golden/README.md), with
[examples](../examples/README.md). [consumers.md](../consumers.md) is the guide for consumers.

| topic | sent by | received by | key | partitions | retention |
|---|---|---|---|---|---|"""


def _services(described: Document, topic: str, action: str) -> str:
    wanted = f"-{action}-{topic}"
    return ", ".join(sorted(name.removesuffix(wanted) for name in described["operations"] if name.endswith(wanted)))


def files() -> dict[str, str]:
    """The files by name, with their content. Deterministic, with sorted keys."""
    described = document()
    whole = json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return {"asyncapi.json": whole, "README.md": table(described)}


def differing() -> list[str]:
    """The names of files that are missing or out of date."""
    return [name for name, content in files().items() if content != _read(FOLDER / name)]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns 1 if `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the AsyncAPI document to docs/asyncapi.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    if not parser.parse_args(arguments).check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, content in files().items():
            (FOLDER / name).write_text(content, encoding="utf-8")
        return 0
    different = differing()
    for name in different:
        sys.stderr.write(f"docs/asyncapi/{name} is out of date: run {COMMAND}\n")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
