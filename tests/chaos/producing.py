"""Agencies that never give up: what was not acknowledged is sent again, so the log has it once or several times."""

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

from tests.chaos.story import Telling
from tests.support import kafka_log
from tests.support.kafka_log import Message

Place = tuple[str, int, int]
_PATIENCE = 30.0


def digest(value: bytes | None) -> bytes:
    """Short enough to keep one for each event of a long run."""
    return hashlib.blake2b(value or b"", digest_size=16, key=b"null" if value is None else b"").digest()


class Acknowledged:
    """Every place that somebody was told, with a digest of what was sent."""

    def __init__(self) -> None:
        self.places: dict[Place, bytes] = {}
        self.wrong: list[str] = []

    def add(self, place: Place, value: bytes | None) -> None:
        """Keep one acknowledgement; no place is given twice."""
        if place in self.places:
            self.wrong.append(f"{place} was acknowledged twice")
        self.places[place] = digest(value)


class Gate:
    """Keeps the producers near the blows: a run in which all blows fall after the last event shows nothing."""

    def __init__(self, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged
        self.limit = 0

    async def open(self) -> None:
        """Wait until more may be sent."""
        while len(self._acknowledged.places) >= self.limit:  # noqa: ASYNC110  # it grows at each acknowledgement
            await asyncio.sleep(0.02)


class Producers:
    """Three ways in: batches and streams over HTTP, and records written beside the door."""

    def __init__(self, story: Iterator[Telling], acknowledged: Acknowledged, gate: Gate, chunk: int) -> None:
        self._story = story
        self._chunk = chunk
        self._acknowledged = acknowledged
        self._gate = gate
        self._no_events: list[Telling] = []

    async def run(self, ingest: str, key: str, bootstrap: str) -> None:
        """Send the whole story; returns when all of it is acknowledged."""
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            httpx.AsyncClient(base_url=ingest, headers=headers, timeout=_PATIENCE, trust_env=False) as http,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._send_all(lambda some: self._batch(http, some)))
            tasks.create_task(self._send_all(lambda some: self._stream(http, some)))
            tasks.create_task(self._write_all(bootstrap))
        await self._write_all(bootstrap)  # what the others met last and handed on

    async def _send_all(self, send: Callable[[Sequence[Message]], Any]) -> None:
        while chunk := list(islice(self._story, self._chunk)):
            await self._gate.open()
            self._no_events += [one for one in chunk if not one.is_event]
            left = [one.message for one in chunk if one.is_event]
            while left:
                told: dict[int, dict[str, Any]] = {}
                try:
                    async for receipt in send(left):
                        told[receipt["line"]] = receipt
                except (httpx.HTTPError, json.JSONDecodeError):
                    pass
                left = self._unanswered(left, told)
                if left:
                    await asyncio.sleep(0.2)

    def _unanswered(self, sent: Sequence[Message], told: dict[int, dict[str, Any]]) -> list[Message]:
        left = []
        for line, one in enumerate(sent, start=1):
            receipt = told.get(line)
            if receipt is not None and receipt["status"] == "accepted":
                self._acknowledged.add((receipt["topic"], receipt["partition"], receipt["offset"]), one.value)
            elif receipt is not None and receipt["status"] == "rejected":
                self._acknowledged.wrong.append(f"a valid event was refused: {receipt['code']}")
            else:
                left.append(one)
        return left

    async def _batch(self, http: httpx.AsyncClient, some: Sequence[Message]) -> Any:
        body = b"[" + b",".join(one.value or b"" for one in some) + b"]"
        answer = await http.post(
            "/v1/events", content=body, headers={"Content-Type": "application/cloudevents-batch+json"}
        )
        if answer.status_code in {200, 207}:
            for receipt in answer.json()["receipts"]:
                yield receipt

    async def _stream(self, http: httpx.AsyncClient, some: Sequence[Message]) -> Any:
        body = b"\n".join(one.value or b"" for one in some) + b"\n"
        async with http.stream(
            "POST", "/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"}
        ) as answer:
            if answer.status_code == 207:
                async for line in answer.aiter_lines():
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
        """Write with a producer of its own, so that a broken one is no worse than a slow one; what failed."""
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
                self._acknowledged.add((result.topic, result.partition, result.offset), one.value)
        return left


async def _sent(producer: AIOKafkaProducer, one: Message) -> Any:
    topic, partition = one.place
    return await producer.send(topic, value=one.value, key=one.key, partition=partition, headers=list(one.headers))
