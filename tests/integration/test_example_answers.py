"""The answers in docs/examples are what ingest answers, over a new Kafka."""

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


async def test_ingest_answers_the_requests_as_the_examples_say(own_kafka: KafkaPart, tmp_path: Path) -> None:
    answers = await examples.asked(own_kafka, tmp_path)
    for name, content in answers.items():
        shown = (examples.FOLDER / name).read_text(encoding="utf-8")
        assert _read(content) == _read(shown), f"docs/examples/{name} is old. Run: {examples.COMMAND}"


async def test_what_the_cloudevents_sdk_sends_is_stored_and_what_is_stored_it_reads(
    own_kafka: KafkaPart, tmp_path: Path
) -> None:
    document = examples.events()["issued"]
    attributes = {name: value for name, value in document.items() if name not in ("data", "time")}
    sent = http.to_structured_event(CloudEvent(attributes, document["data"]))
    async with examples.asking(own_kafka, tmp_path) as client:
        answer = await client.post("/v1/events", content=sent.body, headers=sent.headers)
    assert answer.status_code == 202
    receipt = answer.json()
    place = receipt["topic"], receipt["partition"], receipt["offset"]
    record = (await kafka_log.read(own_kafka.bootstrap, *place))[0]
    assert record.value is not None
    message = KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value)
    read = kafka.from_kafka_event(message)
    assert (read.get_id(), read.get_data()) == (document["id"], document["data"])
    assert record.key == document["data"]["detainer_id"].encode()
    assert record.value == sent.body
