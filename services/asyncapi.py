"""What the services say to each other and to others on Kafka: `python -m services.asyncapi`, or compare with `--check`.

FastStream's AsyncAPI specification of each service's broker says who sends and who receives on which topic. What it
cannot say is added from where it is written down: payloads are the JSON Schemas of `schemas.export`, keys and headers
are in `_MESSAGES`, partitions and what is kept in `schemas.topics`. Nothing connects.
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
from schemas.rejected import DetainerRejected
from schemas.report import ReportReady
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
from services.aggregator import subscriber
from services.aggregator.spans import Record
from services.aggregator.worker import PARTITIONS
from services.ingest import app as ingest

FOLDER: Final = Path(__file__).parents[1] / "docs" / "asyncapi"
COMMAND: Final = "python -m services.asyncapi"

_REPLICATION = 3
_BINDING = "0.5.0"
_UUID = {"type": "string", "format": "uuid", "description": "detainer_id. The partition is CRC32 of the key."}
_WEEK = {"type": "string", "format": "date", "description": "First day of the week."}
_PLACE = {"type": "string", "description": "topic/partition of the record that was rejected."}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Message:
    """What a record of a topic is, beside its topic. `schemas` are the types of its CloudEvents."""

    schemas: tuple[str, ...]
    key: Document
    headers: Mapping[str, str] = field(default_factory=dict)


_ID = {"id": "The event's id: the same for the same report, so a consumer can leave out what it has seen."}
_MESSAGES: Final = {
    DETAINER_ISSUED: _Message(("detainer-issued",), _UUID),
    DETAINER_DECLINED: _Message(("detainer-declined",), _UUID),
    WEEK_ATTESTED: _Message(("week-attested",), _WEEK),
    DETAINER_REJECTED: _Message(
        ("detainer-rejected",), _PLACE, headers={"id": "topic/partition/offset of the record."}
    ),
    REPORT_READY: _Message(("report-ready", "report-final"), _WEEK, headers=_ID),
    REPORT_LATEST: _Message(("report-ready",), _WEEK, headers=_ID),
}
_CHANNELS: Final = {
    DETAINER_ISSUED: "Detainers issued, as agencies sent them. Every version of each.",
    DETAINER_DECLINED: "Detainers declined, as agencies sent them. Every version of each.",
    WEEK_ATTESTED: "What agencies counted of their weeks, as they sent it. Every version of each.",
    DETAINER_REJECTED: "Where a record is that is no event, and why. Never what is in it.",
    REPORT_READY: "Every revision of every week's report, in the order of publication; and that a week is final.",
    REPORT_LATEST: "The newest revision of each week's report.",
}


async def _nothing(_: Sequence[Record]) -> None:
    """No record comes: nothing connects."""


def brokers() -> dict[str, KafkaBroker]:
    """A broker for each service with what the service declares on it. What goes through an outbox is declared here."""
    found = {name: KafkaBroker("127.0.0.1:9092") for name in ("ingest", "aggregator", "publisher")}
    ingest.declare(found["ingest"])
    subscriber.subscribe(found["aggregator"], PARTITIONS, _nothing)
    found["aggregator"].publisher(DETAINER_REJECTED, schema=DetainerRejected)
    found["publisher"].publisher(REPORT_READY, schema=ReportReady)
    found["publisher"].publisher(REPORT_LATEST, schema=ReportReady)
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
            "description": "CloudEvents 1.0 in structured mode, one a record. Readers read committed records only and "
            "ignore fields of `data` that they do not know.",
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
    """Who does what, under names of ours; FastStream's hold titles of the code."""
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
        "description": "Apache Kafka. Security as the settings DDOR_KAFKA_SECURITY_PROTOCOL and DDOR_KAFKA_SASL_* say.",
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
    headers |= {header: {"type": "string", "description": said} for header, said in message.headers.items()}
    return {
        "name": name,
        "title": name,
        "contentType": "application/cloudevents+json",
        "headers": {"type": "object", "properties": headers, "required": sorted(headers)},
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"kafka": {"key": message.key, "bindingVersion": _BINDING}},
    }


def _hoist(name: str, schema: Document, schemas: Document) -> None:
    """Put a JSON Schema and its definitions beside the others, where references of the whole document find them."""
    own = {key: value for key, value in schema.items() if key not in ("$defs", "$id", "$schema")}
    for key, value in {name: own, **schema.get("$defs", {})}.items():
        moved = json.loads(json.dumps(value).replace('"#/$defs/', '"#/components/schemas/'))
        assert schemas.setdefault(key, moved) == moved, f"two schemas are called {key}"


def table(described: Document) -> str:
    """The README beside the document: who sends and who receives what."""
    lines = [_HEAD]
    for topic, channel in described["channels"].items():
        sends, receives = (_services(described, topic, action) for action in ("send", "receive"))
        name = next(iter(channel["messages"]))
        binding = channel["bindings"]["kafka"]
        [policy] = binding["topicConfiguration"]["cleanup.policy"]
        kept = "last of each key" if policy == "compact" else "all, forever"
        key = described["components"]["messages"][name]["bindings"]["kafka"]["key"]["description"]
        lines.append(f"| `{topic}` | {sends} | {receives or 'consumers'} | {key} | {binding['partitions']} | {kept} |")
    return "\n".join(lines) + "\n"


_HEAD = f"""# Topics

[asyncapi.json](asyncapi.json) is AsyncAPI 3: channels, messages, headers, keys and topic configuration, for
generators and viewers. It and this page are written by `{COMMAND}` from what the services declare;
a test fails when they differ. The payloads are the JSON Schemas in [schemas/golden](../../schemas/golden);
[examples](../examples/README.md) are beside them, and [consumers.md](../consumers.md) is how to read.

| topic | sent by | received by | key | partitions | kept |
|---|---|---|---|---|---|"""


def _services(described: Document, topic: str, action: str) -> str:
    wanted = f"-{action}-{topic}"
    return ", ".join(sorted(name.removesuffix(wanted) for name in described["operations"] if name.endswith(wanted)))


def files() -> dict[str, str]:
    """The content of each file: the same for the same declarations, and a line for each change."""
    described = document()
    whole = json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return {"asyncapi.json": whole, "README.md": table(described)}


def differing() -> list[str]:
    """The names of files that are missing or old."""
    return [name for name, content in files().items() if content != _there(FOLDER / name)]


def _there(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the AsyncAPI document to docs/asyncapi.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when a file differs")
    if not parser.parse_args(arguments).check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, content in files().items():
            (FOLDER / name).write_text(content, encoding="utf-8")
        return 0
    different = differing()
    for name in different:
        sys.stderr.write(f"docs/asyncapi/{name} differs from the code; see what changed with: {COMMAND}\n")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
