"""Traces through a real collector: a request at ingest, its records in Kafka, and the batch that counts them."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.ports import free_port
from deploy.local.service import Service
from services.aggregator import app as aggregator
from services.publisher.leader import LeaderSession
from services.runtime import tracing
from tests.conftest import MakeSettings
from tests.support import events, kafka_log, processes
from tests.support.agencies import LAS_VEGAS, NEW_YORK, write_agencies
from tests.support.collector import Collector, attributes, collecting, parent
from tests.support.counting import counting
from tests.support.in_process import is_ready, running
from tests.support.life import both
from tests.support.positions import Connection, accounts
from tests.support.processes import BATCH, post
from tests.support.publishing import ANY_SKEW, Hands, client, new_week, report_inputs
from tests.support.streams import LINES
from tests.support.waiting import until

Address = tuple[str, int, int]
DOCUMENTED = re.findall(
    r"^\| `([a-z_.]+)` \|", (Path(__file__).parents[2] / "docs/tracing.md").read_text(), re.MULTILINE
)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


@pytest.fixture
def ingest(kafka: KafkaPart, tmp_path: Path, collector: Collector) -> Iterator[Service]:
    """An ingest that exports to the collector."""
    variables = {
        "DDOR_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "DDOR_AGENCIES_FILE": str(write_agencies(tmp_path / "agencies.toml")),
        "DDOR_OTLP_ENDPOINT": collector.address,
    }
    with processes.started(processes.service("ingest", tmp_path, variables)) as one:
        yield one


@pytest.fixture
async def http(ingest: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with processes.client(ingest) as one:
        yield one


def event(number: int, **more: Any) -> bytes:
    return events.encoded(events.envelope("issued", events.issued(number), id=f"planted-{number}") | more)


def address(receipt: dict[str, Any]) -> Address:
    return receipt["topic"], receipt["partition"], receipt["offset"]


async def sent(
    http: httpx.AsyncClient, body: bytes, media_type: str = processes.SINGLE, **headers: str
) -> list[Address]:
    """Send events. Returns their addresses."""
    response = await post(http, body, media_type, **headers)
    assert response.is_success, response.text
    if media_type == processes.SINGLE:
        return [address(response.json())]
    listed = response.json()["receipts"] if media_type == BATCH else map(json.loads, response.text.splitlines()[:-1])
    return [address(one) for one in listed]


async def headers_of(kafka: KafkaPart, where: Address) -> dict[str, bytes]:
    record = (await kafka_log.read(kafka.bootstrap, *where))[0]
    return dict(record.headers)


async def test_one_trace_joins_the_request_and_the_batch_that_counts_its_events(
    http: httpx.AsyncClient, kafka: KafkaPart, settings: MakeSettings, connection: Connection, collector: Collector
) -> None:
    first, second, third = "1" * 32, "2" * 32, "3" * 32
    value = event(1, traceparent=parent("e" * 32))
    (single,) = await sent(http, value, traceparent=parent(first), tracestate="rojo=1")
    batch = await sent(http, processes.batch([event(2), event(3)]), BATCH, traceparent=parent(second))
    lines = await sent(http, event(4) + b"\n" + event(5), LINES, traceparent=parent(third))
    unsampled = await sent(http, event(6), traceparent=parent("4" * 32, "00"))
    malformed = await sent(http, event(7), traceparent="planted")

    requests = {one.trace_id.hex(): one for one in await collector.wait_for("POST /v1/events", 4)}
    (window,) = await collector.wait_for("store window")
    assert set(requests) > {first, second, third}
    assert requests[first].parent_span_id.hex() == "b7ad6b7169203331"
    assert (window.trace_id.hex(), window.parent_span_id) == (third, requests[third].span_id)
    (begun,) = set(requests) - {first, second, third}
    named = {first: requests[first], second: requests[second], third: window, begun: requests[begun]}
    for trace, where in ((first, [single]), (second, batch), (third, lines), (begun, malformed)):
        headers = {(await headers_of(kafka, one))["traceparent"].decode() for one in where}
        ((version, trace_id, span_id, flags),) = {tuple(one.split("-")) for one in headers}
        assert (version, trace_id, span_id) == ("00", trace, named[trace].span_id.hex())
        assert int(flags, 16) & 1, "sampled"
    assert (await headers_of(kafka, single))["tracestate"] == b"rojo=1"
    assert set(await headers_of(kafka, unsampled[0])) == {"content-type"}
    assert (await kafka_log.read(kafka.bootstrap, *single))[0].value == value, "the bytes of the agency"

    tracing.start(settings(otlp_endpoint=collector.address, traces_per_second=1_000), "aggregator")
    try:
        async with running(aggregator.create(settings(worker="one"))) as one:
            await until(lambda: is_ready(one), "the aggregator ready")
            await kafka_log.append(kafka.bootstrap, [events.message("issued", events.issued(8))])
            await kafka_log.counted(connection, kafka.bootstrap)
    finally:
        await tracing.stop()
    counted = collector.named("count batch")
    links = {(link.trace_id.hex(), link.span_id) for span in counted for link in span.links}
    assert links == {(trace, span.span_id) for trace, span in named.items()}
    totals = Counter[str]()
    for span in counted:
        totals.update({name: int(value) for name, value in attributes(span).items() if name.startswith("ddor.records")})
    assert totals["ddor.records.ledger"] == 8
    assert collector.services == {"ddor-ingest", "ddor-aggregator"}
    _prove_impersonal(collector)


async def test_the_same_event_with_another_trace_is_a_duplicate(
    http: httpx.AsyncClient, kafka: KafkaPart, settings: MakeSettings, connection: Connection
) -> None:
    for trace in ("5" * 32, "6" * 32):
        await sent(http, event(9, traceparent=parent(trace)), traceparent=parent(trace))
    async with running(aggregator.create(settings(worker="one"))):
        await kafka_log.counted(connection, kafka.bootstrap)
    found = (await accounts(connection)).values()
    assert (sum(one["facts"] for one in found), sum(one["duplicates"] for one in found)) == (1, 1)


async def test_log_lines_name_the_trace_and_the_request(
    http: httpx.AsyncClient, ingest: Service, collector: Collector
) -> None:
    foreign = events.encoded(events.envelope("issued", events.issued(1), agency=NEW_YORK))
    headers = {"traceparent": parent("7" * 32), "X-Request-ID": "planted-request"}
    response = await post(http, foreign, **headers)
    assert (response.status_code, response.headers["X-Request-ID"]) == (422, "planted-request")
    (span,) = await collector.wait_for("POST /v1/events")
    lines = [json.loads(line) for line in ingest.process.log.read_text().splitlines()]
    (line,) = [one for one in lines if one["event"] == "refused"]
    assert (line["trace_id"], line["span_id"]) == ("7" * 32, span.span_id.hex())
    assert (line["request_id"], line["agency"], line["service"]) == ("planted-request", LAS_VEGAS, "ingest")
    assert attributes(span)["http.response.status_code"] == 422
    _prove_impersonal(collector)


async def test_a_client_without_a_key_begins_no_span(http: httpx.AsyncClient, collector: Collector) -> None:
    for _ in range(5):
        refused = await post(http, event(1), Authorization="Bearer planted", traceparent=parent("8" * 32))
        assert refused.status_code == 401
    await sent(http, event(1), traceparent=parent("9" * 32))
    await collector.wait_for("POST /v1/events")
    assert {one.trace_id.hex() for one in collector.spans} == {"9" * 32}


@pytest.mark.parametrize("fault", ["away", "hangs"])
async def test_a_collector_that_is_away_or_hangs_stops_nothing(
    kafka: KafkaPart, tmp_path: Path, collector: Collector, fault: str
) -> None:
    """Events are stored, and SIGTERM ends the service within its deadline."""
    collector.open.clear()
    variables = {
        "DDOR_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "DDOR_AGENCIES_FILE": str(write_agencies(tmp_path / "agencies.toml")),
        "DDOR_OTLP_ENDPOINT": collector.address if fault == "hangs" else f"http://127.0.0.1:{free_port()}",
        "DDOR_TRACES_PER_SECOND": "1000",
    }
    service = processes.service("ingest", tmp_path, variables)
    with processes.started(service):
        async with processes.client(service) as http:
            for number in range(100):
                assert (await post(http, event(number))).status_code == 202
            assert (await http.get("/readyz")).status_code == 200

            async def said() -> bool:
                return "spans-not-exported" in service.process.log.read_text()

            await until(said, "a line about the collector")
    text = service.process.log.read_text()
    assert "Traceback" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    reasons = [one["reason"] for one in lines if one["event"] == "spans-not-exported"]
    assert "the collector" in reasons[0]
    assert len(reasons) <= 2, "one in a minute, and one at the end"


async def test_a_close_is_one_trace_with_its_phases(
    store_settings: MakeSettings, own_kafka: KafkaPart, collector: Collector
) -> None:
    week = new_week()
    chosen = store_settings(
        kafka_bootstrap=own_kafka.bootstrap, kafka_replication=1, worker="one", first_week=week.first
    )
    await kafka_log.append(own_kafka.bootstrap, both(range(5), week))
    tracing.start(store_settings(otlp_endpoint=collector.address), "publisher")
    clock = Hands(week.ends_at + timedelta(hours=24))
    leader = LeaderSession(chosen, client(chosen), week.first, lambda: report_inputs(chosen), clock, skew=ANY_SKEW)
    closing = asyncio.create_task(leader.session(lambda: None))
    try:
        await collector.wait_for("capture barrier")
        async with counting(chosen) as counter:
            await counter.count()
        (root,) = await collector.wait_for("close week")
    finally:
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await tracing.stop()
    of_week = [one for one in collector.spans if one.trace_id == root.trace_id]
    phases = {one.name: one for one in of_week if one.parent_span_id == root.span_id}
    assert set(phases) == {"capture barrier", "drain", "write report", "send report"}
    assert [one.name for one in sorted(phases.values(), key=lambda one: one.start_time_unix_nano)] == [
        "capture barrier",
        "drain",
        "write report",
        "send report",
    ]
    parts = {one.name for one in of_week if one.parent_span_id == phases["write report"].span_id}
    assert parts == {"prove", "read", "evaluate gates", "write", "restate"}
    assert attributes(root) == {"ddor.week": str(week.first)}
    assert attributes(phases["write report"]) == {"ddor.revisions": 1, "ddor.held": False}
    _prove_impersonal(collector)


def _prove_impersonal(collector: Collector) -> None:
    """All attributes are documented, and no span contains an id of a detainer or an event."""
    assert {name for span in collector.spans for name in attributes(span)} <= tracing.ATTRIBUTES
    ids = [events.detainer_id(number).encode() for number in range(10)]
    for span in collector.spans:
        text = span.SerializeToString()
        assert not any(one in text for one in [*ids, b"planted"]), span.name
        assert not span.events


def test_all_attributes_are_documented() -> None:
    assert sorted(DOCUMENTED) == sorted(tracing.ATTRIBUTES)
