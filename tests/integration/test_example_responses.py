"""The responses in docs/examples are those of ingest on a new Kafka."""

from __future__ import annotations

import json
from pathlib import Path

from cloudevents.core.bindings import http, kafka
from cloudevents.core.bindings.kafka import KafkaMessage
from cloudevents.core.v1.event import CloudEvent

from deploy.local.parts import KafkaPart
from tests.support import examples, kafka_log


def _read(text: str) -> list[object]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


async def test_ingest_responds_as_the_examples_show(own_kafka: KafkaPart, tmp_path: Path) -> None:
    responses = await examples.all_responses(own_kafka, tmp_path)
    for name, content in responses.items():
        shown = (examples.FOLDER / name).read_text(encoding="utf-8")
        assert _read(content) == _read(shown), f"docs/examples/{name} is old. Run: {examples.COMMAND}"


async def test_an_event_of_the_cloudevents_sdk_is_stored_and_read_back(own_kafka: KafkaPart, tmp_path: Path) -> None:
    document = examples.events()["issued"]
    attributes = {name: value for name, value in document.items() if name not in ("data", "time")}
    sent = http.to_structured_event(CloudEvent(attributes, document["data"]))
    async with examples.ingesting(own_kafka, tmp_path) as client:
        response = await client.post("/v1/events", content=sent.body, headers=sent.headers)
    assert response.status_code == 202
    receipt = response.json()
    address = receipt["topic"], receipt["partition"], receipt["offset"]
    record = (await kafka_log.read(own_kafka.bootstrap, *address))[0]
    assert record.value is not None
    message = KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value)
    read = kafka.from_kafka_event(message)
    assert (read.get_id(), read.get_data()) == (document["id"], document["data"])
    assert record.key == document["data"]["detainer_id"].encode()
    assert record.value == sent.body
