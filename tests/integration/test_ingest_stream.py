"""Streams through ingest to a real Kafka: any length, constant memory, correct receipts."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from schemas.acceptance import accept
from schemas.log import RecordAddress
from tests.support import events, kafka_log, processes, streams
from tests.support.agencies import NEW_YORK
from tests.support.compressing import zstd
from tests.support.processes import BATCH, post
from tests.support.refused_bodies import NO_JSON, REFUSED
from tests.support.streams import LINES, Stream

MEGABYTE = 1_048_576
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def receipts_of(response: httpx.Response) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The receipts and the last line."""
    assert response.status_code == 207, response.text
    assert response.headers["content-type"] == LINES
    *receipts, last = [json.loads(line) for line in response.text.splitlines()]
    return receipts, last


def memory(service: Service, name: str = "VmRSS") -> int:
    """Memory of the service's process, in bytes."""
    process = service.process.find()
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith(name)]
    return int(line.split()[1]) * 1_024


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
async def test_invariant_3_a_stream_is_in_kafka_with_the_same_bytes(
    http: httpx.AsyncClient, kafka: KafkaPart, encoding: str
) -> None:
    before = await kafka_log.ends(kafka.bootstrap)
    body = b"\r\n".join(streams.value(number) for number in range(5_000))
    packed = PACKED[encoding](body) if encoding else body
    headers = {"Content-Encoding": encoding} if encoding else {}
    receipts, last = receipts_of(await post(http, packed, LINES, **headers))
    assert last == {"summary": {"lines": 5_000, "accepted": 5_000, "rejected": 0, "unavailable": 0}}
    there = await streams.log_since(kafka.bootstrap, before)
    assert len(there) == 5_000
    for number, receipt in enumerate(receipts):
        assert (receipt["line"], receipt["id"]) == (number + 1, f"event/{number}")
        assert there[streams.address_of(receipt)].value == streams.value(number)


async def test_each_of_ten_thousand_bad_lines_has_its_code(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    bad = [(value, code) for value, _, code, _ in REFUSED.values()]
    bad += [(value, code) for name, (value, code) in NO_JSON.items() if name not in {"spaces", "UTF-16"}]
    assert len(bad) >= 40
    before = await kafka_log.ends(kafka.bootstrap)
    wanted: list[str | None] = []
    lines = []
    for number in range(10_000):
        value, code = bad[number % len(bad)]
        lines.append(value)
        wanted.append(code)
        if number % 10 == 0:
            lines.append(streams.value(number))
            wanted.append(None)
    receipts, last = receipts_of(await post(http, b"\n".join(lines), LINES))
    assert [receipt.get("code") for receipt in receipts] == wanted
    assert last["summary"] == {"lines": 11_000, "accepted": 1_000, "rejected": 10_000, "unavailable": 0}
    assert sum((await kafka_log.ends(kafka.bootstrap)).values()) - sum(before.values()) == 1_000


async def test_receipts_arrive_while_the_client_is_sending(ingest: Service) -> None:
    stream = await Stream.open(ingest)
    await stream.send(streams.lines([1]))
    assert await stream.status() == 207
    received = stream.lines()
    assert (await anext(received))["status"] == "accepted"
    await stream.send(streams.lines([2]) + streams.value(3))
    assert (await anext(received))["line"] == 2
    await stream.end()
    assert [line async for line in received][-1]["summary"]["accepted"] == 3
    assert stream.complete
    await stream.close()


async def test_events_with_the_source_of_another_agency_are_refused(ingest: Service, kafka: KafkaPart) -> None:
    before = await kafka_log.ends(kafka.bootstrap)
    async with processes.client(ingest, NEW_YORK) as http:
        receipts, last = receipts_of(await post(http, streams.lines(range(100)), LINES))
    assert {receipt["code"] for receipt in receipts} == {"source-not-allowed"}
    assert last["summary"]["rejected"] == 100
    assert await kafka_log.ends(kafka.bootstrap) == before


async def test_a_resent_stream_adds_no_fact(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    """An event that is stored twice is one fact: identity, version and fingerprint are equal."""
    before = await kafka_log.ends(kafka.bootstrap)
    body = streams.lines(range(70_000, 71_000))
    for _ in range(2):
        _, last = receipts_of(await post(http, body, LINES))
        assert last["summary"]["accepted"] == 1_000
    there = await streams.log_since(kafka.bootstrap, before)
    facts = Counter(
        (fact.identity, fact.version, fact.fingerprint)
        for fact in (accept(record.value, record.topic) for record in there.values())
    )
    assert set(facts.values()) == {2}
    assert len(facts) == 1_000


async def test_a_disconnect_loses_no_acknowledged_event(ingest: Service, kafka: KafkaPart) -> None:
    before = await kafka_log.ends(kafka.bootstrap)
    acknowledged: dict[RecordAddress, bytes] = {}
    for turn in range(10):
        first = 100_000 + turn * 10_000
        stream = await Stream.open(ingest)
        await stream.send(streams.lines(range(first, first + 1_000)))
        await stream.status()
        async for receipt in stream.lines():
            acknowledged[streams.address_of(receipt)] = streams.value(first + receipt["line"] - 1)
            if receipt["line"] == 300 + turn * 70:
                break
        await stream.send(streams.lines(range(first + 1_000, first + 1_500)))
        stream.abort()
    there = await streams.log_since(kafka.bootstrap, before)
    assert len(acknowledged) > 3_000
    assert {address: there[address].value for address in acknowledged} == acknowledged


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_compression_bomb_is_refused_in_little_memory(
    http: httpx.AsyncClient, ingest: Service, encoding: str
) -> None:
    bomb = PACKED[encoding](bytes(300 * MEGABYTE))
    before = memory(ingest)
    for _ in range(3):
        for content_type in (BATCH, processes.SINGLE):
            response = await post(http, bomb, content_type, **{"Content-Encoding": encoding})
            assert response.status_code == 413
            assert response.json()["code"] in {"expands-too-much", "too-large"}
        receipts, last = receipts_of(await post(http, bomb, LINES, **{"Content-Encoding": encoding}))
        assert (receipts, last["error"]["code"]) == ([], "expands-too-much")
    assert memory(ingest, "VmHWM") - before < 60 * MEGABYTE
    assert (await post(http, streams.value(1))).status_code == 202


async def test_fifty_megabytes_of_lines_need_constant_memory(ingest: Service) -> None:
    template = events.encoded(events.envelope("issued", events.issued(1), id="event/NUMBER"))
    template = template.replace(events.detainer_id(1).encode(), b"00000000-0000-4000-8000-IDENTITY....")
    template = template.replace(b'"operator"', b'"facility":"A-LONG-CODE-16CH","form":"I-247D","operator"')
    chunk = 500
    count = 50 * MEGABYTE // (len(template) + 1) // chunk * chunk
    stream = await Stream.open(ingest)
    seen: Counter[str] = Counter()

    async def read() -> dict[str, Any]:
        assert await stream.status() == 207
        async for line in stream.lines():
            if "status" not in line:
                return line
            seen[line["status"]] += 1
        raise AssertionError("the answer was cut off")

    reading = asyncio.create_task(read())
    warm, most = 0, 0
    for first in range(0, count, chunk):
        await stream.send(
            b"".join(
                template.replace(b"NUMBER", b"%d" % number).replace(b"IDENTITY....", b"%012x" % number) + b"\n"
                for number in range(first, first + chunk)
            )
        )
        most = max(most, memory(ingest))
        if first < count // 10:
            warm = most
    await stream.end()
    last = await reading
    assert last["summary"] == {"lines": count, "accepted": count, "rejected": 0, "unavailable": 0}
    assert seen == {"accepted": count}
    assert most - warm < 30 * MEGABYTE
    await stream.close()


async def test_slow_clients_do_not_delay_others(http: httpx.AsyncClient, ingest: Service) -> None:
    slow = [
        await Stream.open(ingest, content_type=kind) for kind in (LINES, BATCH, processes.SINGLE) for _ in range(20)
    ]
    stop = asyncio.Event()

    async def dribble(stream: Stream) -> None:
        while not stop.is_set():
            await stream.send(b" ")
            await asyncio.sleep(0.02)

    dribbling = [asyncio.create_task(dribble(stream)) for stream in slow]
    for number in range(100):
        assert (await post(http, streams.value(number))).status_code == 202
    assert not any(task.done() for task in dribbling), "served while all slow clients were sending"
    stop.set()
    await asyncio.gather(*dribbling)
    for stream in slow:
        stream.abort()
    assert (await http.get("/readyz")).status_code == 200


async def test_two_hundred_concurrent_clients_are_served(ingest: Service, kafka: KafkaPart) -> None:
    before = await kafka_log.ends(kafka.bootstrap)

    async def send(number: int) -> dict[RecordAddress, bytes]:
        first = 500_000 + number * 100
        async with processes.client(ingest) as mine:
            if number % 3 == 0:
                receipts = receipts_of(await post(mine, streams.lines(range(first, first + 50)), LINES))[0]
            elif number % 3 == 1:
                body = processes.batch([streams.value(one) for one in range(first, first + 50)])
                receipts = (await post(mine, body, BATCH)).json()["receipts"]
            else:
                receipts = [(await post(mine, streams.value(first))).json()]
        return {streams.address_of(receipt): streams.value(first + receipt["line"] - 1) for receipt in receipts}

    found = await asyncio.wait_for(asyncio.gather(*(send(number) for number in range(200))), 120)
    acknowledged = {address: value for one in found for address, value in one.items()}
    assert len(acknowledged) == sum(len(one) for one in found) == 67 * 100 + 66
    there = await streams.log_since(kafka.bootstrap, before)
    assert {address: record.value for address, record in there.items()} == acknowledged
