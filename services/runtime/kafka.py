"""Kafka clients from the settings: arguments for aiokafka, FastStream's broker, and safe starts and stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from faststream.kafka import KafkaBroker
from faststream.kafka.security import parse_security
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from schemas.log import Partition
from schemas.topics import Topic
from services.runtime import kafka_refusals, kafka_tls
from services.runtime.settings import Settings

REQUEST_TIMEOUT_MS = 5_000

_CANCEL_SECONDS = 2.0
"""How long the start or stop of a client may still take after its caller was cancelled."""


async def start(begin: Callable[[], Awaitable[None]]) -> None:
    """Call `begin`, the start of a client or of FastStream's broker, in a separate task and stop that task afterwards.

    If the caller is cancelled, the task gets a few seconds to finish: aiokafka leaks a connection if it is cancelled
    while it requests metadata on it. If no broker accepts a connection because of a setting, the error names it.
    """
    starting = asyncio.ensure_future(begin())
    try:
        await asyncio.wait([starting])
    finally:
        if not starting.done():
            await asyncio.wait([starting], timeout=_CANCEL_SECONDS)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
    try:
        starting.result()
    except KafkaConnectionError as error:
        cause = await kafka_refusals.cause(getattr(begin, "__self__", None))
        raise cause or error from error


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, in a separate task.

    aiokafka cancels its own tasks and awaits them. While a broker is away, the CancelledError of one of them can escape
    from `stop`; in the caller's task it would look like a cancellation of the caller and hide the original error.
    If the caller is cancelled, the connections are closed without the requests that a regular stop makes.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait([stopping])
    finally:
        if not stopping.done():
            stopping.cancel()
            await asyncio.wait([stopping], timeout=_CANCEL_SECONDS)
            await consumer._client.close()
    if not stopping.cancelled():
        stopping.result()


async def stop_producer(producer: AIOKafkaProducer, seconds: float) -> bool:
    """Flush the producer for at most `seconds`, then stop it. Returns whether all records were delivered or failed.

    aiokafka's own `stop` has no timeout: it blocks while Kafka is away, and if it is cancelled, the sender task and the
    connections stay open. This function always ends both, also if the caller is cancelled.
    """
    sender = producer._sender.sender_task
    flushing = asyncio.ensure_future(producer.flush())
    try:
        awaited = [flushing, *([sender] if sender is not None else [])]
        await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        producer._closed = True  # otherwise its finalizer warns about an unclosed producer
        flushed = flushing.done()
        flushing.cancel()
        try:
            if sender is not None:
                await _end(sender)
        finally:
            await producer.client.close()
            if (update := producer.client._md_update_fut) is not None:
                update.cancel()  # concurrent metadata requests still wait for it, and it never completes
    return flushed


async def _end(sender: asyncio.Task[None]) -> None:
    """Cancel it twice: after the first cancellation it still waits for requests in flight, and so for Kafka."""
    for _ in range(2):
        sender.cancel()
        await asyncio.wait([sender], timeout=_CANCEL_SECONDS)


def client(settings: Settings, client_id: str) -> dict[str, Any]:
    """Keyword arguments for any aiokafka client. Raises ConfigurationError if a file of certificates is unusable."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        **parse_security(_security(settings)),
    }


def broker(settings: Settings, client_id: str, *, only_reads: bool = False) -> KafkaBroker:
    """FastStream's broker. It connects when started, not on import, and never creates a topic.

    With `only_reads` it starts neither a producer nor an admin client.
    """
    return KafkaBroker(
        settings.kafka_bootstrap.split(","),
        client_id=client_id,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        allow_auto_create_topics=False,
        security=_security(settings),
        acks="all",
        enable_idempotence=True,
        consumer_only=only_reads,
        graceful_timeout=10.0,
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
    )


def _security(settings: Settings) -> BaseSecurity:
    """Encryption and login for the broker and, through `parse_security`, for each client."""
    context = kafka_tls.context(settings)
    if not settings.kafka_security_protocol.startswith("SASL"):
        return BaseSecurity(ssl_context=context, use_ssl=context is not None)
    schemes = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    password = settings.kafka_sasl_password
    return schemes[settings.kafka_sasl_mechanism](
        username=settings.kafka_sasl_username or "",
        password=password.get_secret_value() if password else "",
        ssl_context=context,
        use_ssl=context is not None,
    )


def topic_partition(partition: Partition) -> TopicPartition:
    """The partition as aiokafka's type."""
    return TopicPartition(partition.topic, partition.number)


async def partitions(consumer: AIOKafkaConsumer, topics: Iterable[Topic]) -> list[Partition]:
    """All current partitions of these topics, at least as many as each topic was created with.

    Each call requests metadata from a broker: the cache is up to five minutes old, and partitions can be added.
    """
    cluster = await consumer._client.fetch_all_metadata()  # the consumer's own `topics` returns names only
    counts = {topic: len(cluster.partitions_for_topic(topic.name) or ()) for topic in topics}
    return [
        Partition(topic.name, number)
        for topic, count in counts.items()
        for number in range(max(topic.partitions, count))
    ]
