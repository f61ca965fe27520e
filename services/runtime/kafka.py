"""How to reach Kafka: one set of client arguments from the settings, and FastStream's broker with them."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.helpers import create_ssl_context
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from schemas.topics import Topic
from services.runtime.settings import Settings

REQUEST_TIMEOUT_MS = 5_000

_PATIENCE = 2.0
"""Seconds that the start or the end of a client is waited for though who asked for it no longer waits."""


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    cafile = settings.kafka_ssl_cafile
    context: ssl.SSLContext = create_ssl_context(cafile=str(cafile) if cafile else None)
    return context


async def start(begin: Callable[[], Awaitable[None]]) -> None:
    """Call `begin`, the start of a client or of FastStream's broker, in a task of its own; stop it afterwards always.

    aiokafka leaves a connection open if it is cancelled while it asks for the brokers on it. Who is cancelled here
    first waits until the start has ended, for a little.
    """
    starting = asyncio.ensure_future(begin())
    try:
        await asyncio.wait([starting])
    finally:
        if not starting.done():
            await asyncio.wait([starting], timeout=_PATIENCE)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
    starting.result()


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, in a task of its own.

    It cancels its own tasks and awaits them. While a broker is away the CancelledError of one may come out of `stop`,
    where it would pass for a cancellation of whoever waits, and nobody would hear of what had failed before. Who is
    cancelled here closes the connections all the same: what else a consumer ends by asking Kafka may take it long.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait([stopping])
    finally:
        if not stopping.done():
            stopping.cancel()
            await asyncio.wait([stopping], timeout=_PATIENCE)
            await consumer._client.close()
    if not stopping.cancelled():
        stopping.result()


async def stop_producer(producer: AIOKafkaProducer, seconds: float) -> bool:
    """Wait so many seconds for what is on its way, then end the producer; whether all of it has arrived or failed.

    aiokafka's own `stop` waits without end while Kafka is away; who gives it up there leaves the task that sends and
    the connections, and a second `stop` does nothing. Here they end always, also when who asked is cancelled.
    """
    sender = producer._sender.sender_task
    flushing = asyncio.ensure_future(producer.flush())
    try:
        awaited = [flushing, *([sender] if sender is not None else [])]
        await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        producer._closed = True  # else it warns that nobody has stopped it
        flushed = flushing.done()
        flushing.cancel()
        try:
            if sender is not None:
                await _end(sender)
        finally:
            await producer.client.close()
            if (update := producer.client._md_update_fut) is not None:
                update.cancel()  # of several requests on their way all but one still wait for it; it will never come
    return flushed


async def _end(sender: asyncio.Task[None]) -> None:
    """Cancelled once it still waits for the requests that are on their way, which waits for Kafka; twice, it ends."""
    for _ in range(2):
        sender.cancel()
        await asyncio.wait([sender], timeout=_PATIENCE)


def client(settings: Settings, client_id: str) -> dict[str, Any]:
    """Arguments that every aiokafka client takes."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": _tls(settings),
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        password = settings.kafka_sasl_password
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return arguments


async def partitions(consumer: AIOKafkaConsumer, topics: Iterable[Topic]) -> list[TopicPartition]:
    """The partitions of these topics as they are now; never fewer than each was made with.

    Asked of a broker each time: what the client has seen is up to five minutes old, and partitions may have been added.
    """
    cluster = await consumer._client.fetch_all_metadata()  # the consumer's own `topics` gives names alone
    found = {topic.name: len(cluster.partitions_for_topic(topic.name) or ()) for topic in topics}
    return [
        TopicPartition(topic.name, number)
        for topic in topics
        for number in range(max(topic.partitions, found[topic.name]))
    ]


def _security(settings: Settings) -> BaseSecurity:
    context = _tls(settings)
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


def broker(settings: Settings, client_id: str, *, only_reads: bool = False) -> KafkaBroker:
    """FastStream's broker. It connects when started, never at import, and never creates a topic.

    One that `only_reads` opens no producer and no admin client.
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
