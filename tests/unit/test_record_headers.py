"""The headers of records in Kafka: a trace only for the events of sampled requests, also if requests share a batch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, get_current_span

from services.ingest.kafka.producer import EventProducer
from services.runtime import trace_context, tracing
from services.runtime.settings import Settings
from tests.support.collector import collecting, parent
from tests.unit.sample_producer import Client, Kafka, event, in_place_of_aiokafkas, running

FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32


@pytest.fixture
async def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    return in_place_of_aiokafkas(monkeypatch)


async def request(producer: EventProducer, trace: str, flags: str, lines: range) -> None:
    """Store events as a request with this context does."""
    context = trace_context.parent_of([(b"traceparent", parent(trace, flags).encode())])
    with tracing.span("POST /v1/events", SpanKind.SERVER, parent=context):
        await producer.store([event(line) for line in lines])


async def test_events_of_sampled_requests_name_their_trace_also_in_a_shared_batch(kafka: Kafka) -> None:
    with collecting() as collector:
        tracing.start(Settings(otlp_endpoint=collector.address), "ingest")
        try:
            async with running() as producer:
                await asyncio.gather(
                    request(producer, FIRST, "01", range(1, 4)),
                    request(producer, SECOND, "00", range(4, 6)),
                    request(producer, THIRD, "01", range(6, 8)),
                )
                await producer.store([event(8)])
        finally:
            await tracing.stop()
    assert max(kafka.batches) > 3, "requests share a batch"
    traces = [one.get("traceparent", b"--").split(b"-")[1].decode() for one in kafka.headers]
    assert traces == [FIRST] * 3 + [""] * 2 + [THIRD] * 2 + [""]
    assert [sorted(one) for one in kafka.headers if "traceparent" not in one] == [["content-type"]] * 3


async def test_without_tracing_a_record_has_a_content_type_only(kafka: Kafka) -> None:
    async with running() as producer:
        await request(producer, FIRST, "01", range(1, 4))
    assert [list(one) for one in kafka.headers] == [["content-type"]] * 3


async def test_the_task_that_sends_batches_of_many_requests_is_in_no_request(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def sent(client: Client, *arguments: Any, **named: Any) -> object:
        seen.append(get_current_span().get_span_context().is_valid)
        return await send_batch(client, *arguments, **named)

    send_batch = Client.send_batch
    monkeypatch.setattr(Client, "send_batch", sent)
    with collecting() as collector:
        tracing.start(Settings(otlp_endpoint=collector.address), "ingest")
        try:
            async with running() as producer:
                await request(producer, FIRST, "01", range(1, 4))
        finally:
            await tracing.stop()
    assert seen == [False]
