"""Agencies that resend unacknowledged events, so the log contains each event one or more times."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.log import Partition, RecordAddress
from tests.chaos.story import Telling
from tests.support import kafka_log
from tests.support.kafka_log import Message
from tests.support.streams import address_of

_PATIENCE = 30.0


def digest(value: bytes | None) -> bytes:
    """A short digest, so that a long run can store one per event."""
    return hashlib.blake2b(value or b"", digest_size=16, key=b"null" if value is None else b"").digest()


class Acknowledged:
    """Every acknowledged address, with a digest of the event."""

    def __init__(self) -> None:
        self.addresses: dict[RecordAddress, bytes] = {}
        self.wrong: list[str] = []

    def add(self, address: RecordAddress, value: bytes | None) -> None:
        """Record an acknowledgement. Each address must be unique."""
        if address in self.addresses:
            self.wrong.append(f"{address} was acknowledged twice")
        self.addresses[address] = digest(value)


class Gate:
    """Throttles the producers, so that they do not finish before the blows."""

    def __init__(self, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged
        self.limit = 0

    async def open(self) -> None:
        """Wait until more may be sent."""
        while len(self._acknowledged.addresses) >= self.limit:  # noqa: ASYNC110  # it grows at each acknowledgement
            await asyncio.sleep(0.02)


class Producers:
    """Three producers: batches and streams over HTTP, and records written directly to Kafka."""

    def __init__(self, story: Iterator[Telling], acknowledged: Acknowledged, gate: Gate, chunk: int) -> None:
        self._story = story
        self._chunk = chunk
        self._acknowledged = acknowledged
        self._gate = gate
        self._no_events: list[Telling] = []

    async def run(self, ingest: str, key: str, bootstrap: str) -> None:
        """Send the whole story. Returns once all events are acknowledged."""
        async with self._client(ingest, key) as http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_all(lambda some: self._batch(http, some)))
            tasks.create_task(self._send_all(lambda some: self._stream(http, some)))
            tasks.create_task(self._write_all(bootstrap))
        await self._write_all(bootstrap)  # the last error of the others

    def _client(self, ingest: str, key: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=ingest, headers=headers, timeout=_PATIENCE, trust_env=False)

    async def _send_all(self, send: Callable[[Sequence[Message]], Any]) -> None:
        while chunk := list(islice(self._story, self._chunk)):
            await self._gate.open()
            self._no_events += [one for one in chunk if not one.is_event]
            left = [one.message for one in chunk if one.is_event]
            while left:
                receipts: dict[int, dict[str, Any]] = {}
                try:
                    async for receipt in send(left):
                        receipts[receipt["line"]] = receipt
                except (httpx.HTTPError, json.JSONDecodeError):
                    pass
                left = self._unacknowledged(left, receipts)
                if left:
                    await asyncio.sleep(0.2)

    def _unacknowledged(self, sent: Sequence[Message], receipts: dict[int, dict[str, Any]]) -> list[Message]:
        left = []
        for line, one in enumerate(sent, start=1):
            receipt = receipts.get(line)
            if receipt is not None and receipt["status"] == "accepted":
                self._acknowledged.add(address_of(receipt), one.value)
            elif receipt is not None and receipt["status"] == "rejected":
                self._acknowledged.wrong.append(f"a valid event was refused: {receipt['code']}")
            else:
                left.append(one)
        return left

    async def _batch(self, http: httpx.AsyncClient, some: Sequence[Message]) -> Any:
        body = b"[" + b",".join(one.value or b"" for one in some) + b"]"
        response = await http.post(
            "/v1/events", content=body, headers={"Content-Type": "application/cloudevents-batch+json"}
        )
        if response.status_code in {200, 207}:
            for receipt in response.json()["receipts"]:
                yield receipt

    async def _stream(self, http: httpx.AsyncClient, some: Sequence[Message]) -> Any:
        body = b"\n".join(one.value or b"" for one in some) + b"\n"
        async with http.stream(
            "POST", "/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"}
        ) as response:
            if response.status_code == 207:
                async for line in response.aiter_lines():
                    if line and "summary" not in (receipt := json.loads(line)):
                        yield receipt

    async def _write_all(self, bootstrap: str) -> None:
        while True:
            some = [*self._no_events, *islice(self._story, self._chunk)]
            self._no_events = []
            if not some:
                return
            await self._gate.open()
            left = [one.message for one in some]
            while left:
                left = await self._written(bootstrap, left)

    async def _written(self, bootstrap: str, some: Sequence[Message]) -> list[Message]:
        """Write with a new producer, so that a failed one has no later effect. Returns the failed events."""
        try:
            async with asyncio.timeout(_PATIENCE), kafka_log.producer(bootstrap, request_timeout_ms=5_000) as producer:
                futures = [await _sent(producer, one) for one in some]
                results = await asyncio.gather(*futures, return_exceptions=True)
        except (KafkaError, OSError, TimeoutError):
            await asyncio.sleep(0.3)
            return list(some)
        left = []
        for one, result in zip(some, results, strict=True):
            if isinstance(result, BaseException):
                left.append(one)
            else:
                address = RecordAddress(Partition(result.topic, result.partition), result.offset)
                self._acknowledged.add(address, one.value)
        return left


async def _sent(producer: AIOKafkaProducer, one: Message) -> Any:
    to, headers = one.target, list(one.headers)
    return await producer.send(to.topic, value=one.value, key=one.key, partition=to.number, headers=headers)
