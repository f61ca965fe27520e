"""The committed AsyncAPI document matches the services, the topics and the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import export
from schemas.topics import CONTENT_TYPE, EVENT_TOPICS, TOPICS
from services import asyncapi

_DOCUMENT = asyncapi.document()
_TOPICS = {topic.name: topic for topic in TOPICS}
channels = pytest.mark.parametrize("topic", sorted(_DOCUMENT["channels"]))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


def _resolve(reference: str) -> Any:
    node: Any = _DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node


def _messages(topic: str) -> list[Any]:
    return [_resolve(reference["$ref"]) for reference in _DOCUMENT["channels"][topic]["messages"].values()]


def test_the_committed_document_matches_the_code() -> None:
    assert not asyncapi.differing(), f"docs/asyncapi is old. Run: {asyncapi.COMMAND}"


def test_check_reports_a_file_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asyncapi, "FOLDER", tmp_path / "asyncapi")
    assert asyncapi.main(["--check"]) == 1
    assert asyncapi.main([]) == 0
    assert asyncapi.main(["--check"]) == 0
    (tmp_path / "asyncapi" / "asyncapi.json").write_text("{}\n")
    capsys.readouterr()
    assert asyncapi.main(["--check"]) == 1
    assert "asyncapi.json is out of date" in capsys.readouterr().err


def test_senders_and_receivers_match_the_services() -> None:
    assert sorted(_DOCUMENT["operations"]) == [
        "aggregator-receive-detainer-declined",
        "aggregator-receive-detainer-issued",
        "aggregator-receive-week-attested",
        "aggregator-send-detainer-rejected",
        "ingest-send-detainer-declined",
        "ingest-send-detainer-issued",
        "ingest-send-week-attested",
        "publisher-send-report-latest",
        "publisher-send-report-ready",
    ]
    for name, operation in _DOCUMENT["operations"].items():
        _, action, topic = name.split("-", 2)
        assert (operation["action"], operation["channel"]) == (action, {"$ref": f"#/channels/{topic}"})


def test_every_topic_is_described() -> None:
    assert set(_DOCUMENT["channels"]) == set(_TOPICS)


def test_every_reference_resolves() -> None:
    references = set(_references(_DOCUMENT))
    assert len(references) > 10
    for reference in references:
        assert _resolve(reference) is not None


@channels
def test_a_channel_matches_its_topic(topic: str) -> None:
    channel = _DOCUMENT["channels"][topic]
    kafka = channel["bindings"]["kafka"]
    assert channel["address"] == kafka["topic"] == topic
    assert kafka["partitions"] == _TOPICS[topic].partitions
    configured = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in kafka["topicConfiguration"].items()
    }
    assert configured == _TOPICS[topic].config(kafka["replicas"])


@channels
def test_a_message_is_a_structured_cloudevent_with_a_key(topic: str) -> None:
    for message in _messages(topic):
        assert message["contentType"] == "application/cloudevents+json"
        assert message["headers"]["properties"]["content-type"]["const"] == CONTENT_TYPE
        assert message["bindings"]["kafka"]["key"]["type"] == "string"
        Draft202012Validator.check_schema(_resolve(message["payload"]["$ref"]))


def test_both_events_of_reports_are_described() -> None:
    assert [message["name"] for message in _messages("report-ready")] == ["report-ready", "report-final"]


@pytest.mark.parametrize(
    "name", [topic.name for topic in EVENT_TOPICS] + ["report-ready", "report-final", "detainer-rejected"]
)
def test_a_payload_is_the_golden_schema(name: str) -> None:
    golden = export.documents()[name]
    assert _DOCUMENT["components"]["schemas"][name] == {
        key: value for key, value in _moved(golden).items() if key not in ("$defs", "$id", "$schema")
    }
    for definition, schema in _moved(golden).get("$defs", {}).items():
        assert _DOCUMENT["components"]["schemas"][definition] == schema


def _moved(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: f"#/components/schemas/{member.rpartition('/')[2]}" if name == "$ref" else _moved(member)
            for name, member in value.items()
        }
    return [_moved(member) for member in value] if isinstance(value, list) else value
