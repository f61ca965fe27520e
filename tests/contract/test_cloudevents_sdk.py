"""The CloudEvents SDK for Python reads the project's records, and its own events are accepted: structured mode."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.bindings.kafka import KafkaMessage
from cloudevents.core.v1.event import CloudEvent

from schemas.acceptance import accept_any
from schemas.announcement import report_id
from schemas.topics import CONTENT_TYPE
from tests.support import examples
from tests.support.processes import SINGLE

HEADERS = {"content-type": CONTENT_TYPE.encode()}
EVENTS = pytest.mark.parametrize("name", sorted(examples.events()))


def _of_sdk(document: dict[str, Any]) -> CloudEvent:
    """The event as a user of the SDK would build it."""
    attributes = {name: value for name, value in document.items() if name not in ("data", "time")}
    return CloudEvent({**attributes, "time": datetime.fromisoformat(document["time"])}, document["data"])


@EVENTS
def test_a_record_of_an_event_is_read(name: str) -> None:
    sent = examples.events()[name]
    key = sent["subject"].encode()
    read = kafka.from_kafka_event(KafkaMessage(headers=HEADERS, key=key, value=json.dumps(sent).encode()))
    assert read.get_data() == sent["data"]
    assert (read.get_id(), read.get_source(), read.get_type()) == (sent["id"], sent["source"], sent["type"])
    assert (read.get_subject(), read.get_specversion()) == (key.decode(), "1.0")
    assert read.get_time() == datetime.fromisoformat(sent["time"])


def test_the_record_of_a_report_is_read() -> None:
    week, value = examples.announced()
    identity = report_id(week, 1)
    headers = {**HEADERS, "id": identity.encode()}
    read = kafka.from_kafka_event(KafkaMessage(headers=headers, key=week.isoformat().encode(), value=value))
    assert (read.get_type(), read.get_source(), read.get_id()) == ("report-ready", "/publisher", identity)
    assert read.get_subject() == week.isoformat()
    assert read.get_time() == datetime(2017, 2, 5, 5, tzinfo=UTC)
    data = read.get_data()
    assert isinstance(data, dict)
    assert (data["week_start"], data["revision"]) == (week.isoformat(), 1)


@EVENTS
def test_an_event_of_the_sdk_over_http_is_the_same_fact(name: str) -> None:
    document = examples.events()[name]
    message = http.to_structured_event(_of_sdk(document))
    assert message.headers["content-type"].partition(";")[0] == SINGLE
    assert accept_any(message.body, document["type"]) == accept_any(json.dumps(document).encode())


@EVENTS
def test_an_event_of_the_sdk_in_kafka_is_the_same_fact(name: str) -> None:
    document = examples.events()[name]
    message = kafka.to_structured_event(_of_sdk(document))
    assert accept_any(message.value, document["type"]) == accept_any(json.dumps(document).encode())
