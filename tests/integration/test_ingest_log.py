"""Invariant 3 in ingest: an acknowledged event is in Kafka, at the offset of its receipt, with the same bytes."""

from __future__ import annotations

import json
import zlib
from typing import Any

import httpx

from deploy.local.parts import KafkaPart
from services.ingest.body.media_types import LINES
from tests.support import events, kafka_log, processes
from tests.support.agencies import LAS_VEGAS
from tests.support.processes import BATCH, post


def _odd(number: int) -> bytes:
    """A valid event in an unusual form: spaces, another order, escapes, upper case."""
    data = events.issued(number, detainer_id=events.detainer_id(number).upper())
    document = events.envelope("issued", data, id=f"odd/{number}")
    text = json.dumps(dict(reversed(document.items())), indent=1)
    return text.replace('"county"', '"c\\u006funty"').encode()


async def test_invariant_3_one_event_is_in_kafka_with_the_same_bytes(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    value = _odd(1)
    response = await post(http, value, "application/cloudevents+json; charset=UTF-8")
    assert response.status_code == 202, response.text
    receipt = response.json()
    assert (receipt["line"], receipt["id"], receipt["status"]) == (1, "odd/1", "accepted")
    await _is_there(kafka, receipt, value, events.detainer_id(1))


async def test_invariant_3_a_batch_of_1000_is_in_kafka_with_the_same_bytes(
    http: httpx.AsyncClient, kafka: KafkaPart
) -> None:
    values = [_odd(number) if number % 10 == 0 else _value(number) for number in range(1_000)]
    response = await post(http, b" [\n" + b" ,\n".join(values) + b"\n] ", BATCH)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["summary"] == {"lines": 1_000, "accepted": 1_000, "rejected": 0, "unavailable": 0}
    addresses = {(one["topic"], one["partition"], one["offset"]) for one in body["receipts"]}
    assert len(addresses) == 1_000
    assert {partition for _, partition, _ in addresses} == set(range(12))
    starts: dict[tuple[str, int], int] = {}
    for topic, partition, offset in addresses:
        starts[topic, partition] = min(offset, starts.get((topic, partition), offset))
    there = {
        (record.topic, record.partition, record.offset): record
        for (topic, partition), start in starts.items()
        for record in await kafka_log.read(kafka.bootstrap, topic, partition, start)
    }
    for number, (receipt, value) in enumerate(zip(body["receipts"], values, strict=True)):
        record = there[receipt["topic"], receipt["partition"], receipt["offset"]]
        _is(record, receipt, value, events.detainer_id(number))


async def test_both_kinds_in_one_batch_go_to_their_topics(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    issued = events.encoded(events.envelope("issued", events.issued(7)))
    declined = events.encoded(events.envelope("declined", events.declined(7)))
    receipts = (await post(http, processes.batch([declined, issued, declined]), BATCH)).json()["receipts"]
    assert [one["topic"] for one in receipts] == ["detainer-declined", "detainer-issued", "detainer-declined"]
    for receipt, value in zip(receipts, (declined, issued, declined), strict=True):
        await _is_there(kafka, receipt, value, events.detainer_id(7))
    assert receipts[2]["offset"] > receipts[0]["offset"], "stored twice: only the aggregator detects duplicates"


async def test_events_of_one_partition_keep_their_order(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    values = [events.encoded(events.envelope("issued", events.issued(5, version=v))) for v in range(1, 501)]
    receipts = (await post(http, processes.batch(values), BATCH)).json()["receipts"]
    offsets = [one["offset"] for one in receipts]
    assert offsets == list(range(offsets[0], offsets[0] + 500))
    records = await kafka_log.read(kafka.bootstrap, "detainer-issued", receipts[0]["partition"], offsets[0])
    assert [record.value for record in records] == values


async def test_a_refused_strict_batch_stores_nothing(http: httpx.AsyncClient) -> None:
    """The offsets before and after it are consecutive."""
    good, strict = _value(11), {"Prefer": "handling=strict"}
    before = (await post(http, good)).json()
    bad = events.encoded(events.envelope("issued", events.issued(11, version=0)))
    for body, media_type in ((processes.batch([good, bad]), BATCH), (good + b"\n" + bad, LINES)):
        refused = await post(http, body, media_type, **strict)
        assert (refused.status_code, refused.json()["code"]) == (422, "batch-refused")
    for number, (body, media_type) in enumerate(((processes.batch([good]), BATCH), (good, LINES)), start=1):
        stored = await post(http, body, media_type, **strict)
        assert stored.status_code == 200
        (receipt,) = stored.json()["receipts"]
        assert (receipt["partition"], receipt["offset"]) == (before["partition"], before["offset"] + number)


async def test_a_trace_is_stored_in_both_modes(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    traced = events.envelope("issued", events.issued(12)) | {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "rojo=00f067aa0ba902b7",
        "partitionkey": None,
    }
    value = events.encoded(traced)
    receipt = (await post(http, value)).json()
    await _is_there(kafka, receipt, value, events.detainer_id(12))
    headers = {f"ce-{name}": f'"{attribute}"' for name, attribute in traced.items() if isinstance(attribute, str)}
    del headers["ce-datacontenttype"]
    response = await post(http, json.dumps(traced["data"]).encode(), "application/json; charset=utf-8", **headers)
    assert response.status_code == 202, response.text
    address = (response.json()["topic"], response.json()["partition"], response.json()["offset"])
    stored = (await kafka_log.read(kafka.bootstrap, *address))[0].value
    assert stored is not None
    assert json.loads(stored) == {name: attribute for name, attribute in traced.items() if attribute is not None}


def _value(number: int) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(number), agency=LAS_VEGAS))


async def _is_there(kafka: KafkaPart, receipt: dict[str, Any], value: bytes, detainer_id: str) -> None:
    address = (receipt["topic"], receipt["partition"], receipt["offset"])
    record = (await kafka_log.read(kafka.bootstrap, *address))[0]
    assert record.offset == receipt["offset"]
    _is(record, receipt, value, detainer_id)


def _is(record: Any, receipt: dict[str, Any], value: bytes, detainer_id: str) -> None:
    assert record.value == value
    assert record.key == detainer_id.encode() == record.key.lower()
    assert record.partition == receipt["partition"] == zlib.crc32(record.key) % 12
    assert record.headers == (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
