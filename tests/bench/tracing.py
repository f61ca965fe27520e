"""The cost of tracing: the hot paths of ingest and of the aggregator in one process, without Kafka and PostgreSQL.

`python -m tests.bench.tracing PATH ROUNDS` does ROUNDS requests of ten windows, or batches, and prints the CPU time per
event. `--traced` records spans and exports them to a collector in this process.

CPU time varies on a busy machine. The number of instructions does not: run it under
`valgrind --tool=callgrind --callgrind-out-file=/dev/null` with 1 and with 3 rounds, and subtract.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import ConsumerRecord
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.topics import CONTENT_TYPE
from services.ingest.kafka.producer import BATCH_BYTES, EventProducer, ProducerHandle
from services.runtime.settings import Settings
from tests.support import events
from tests.support.sessions import ISSUED_0, WriterSession
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import Exchange, Time

LINES = 1_000
Round = Callable[[], Awaitable[int]]


class _Log:
    """Acknowledges each batch at once. Batches are those of the real client, so their records are encoded."""

    def __init__(self) -> None:
        self.client = SimpleNamespace(cluster=SimpleNamespace(partitions_for_topic=lambda _: range(12)))
        self.bytes = 0

    def create_batch(self) -> BatchBuilder:
        """A batch."""
        return BatchBuilder(BATCH_BYTES, 0)

    async def send_batch(self, batch: BatchBuilder, _topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Accept a batch."""
        self.bytes += batch.size()
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(SimpleNamespace(offset=partition))
        return done


def _ingest(stack: ExitStack, headers: list[tuple[bytes, bytes]]) -> Round:
    """A request of ten windows of NDJSON."""
    producer = EventProducer.__new__(EventProducer)
    handle = ProducerHandle({"bootstrap_servers": "127.0.0.1:1"})
    handle._producer._closed = True  # it was never opened, and must not warn
    handle._producer = cast("Any", _Log())
    producer._handle = handle
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    endpoint = sample_endpoint.endpoint(directory, cast("Any", producer), Time())
    body = b"\n".join(events.encoded(events.envelope("issued", events.issued(one))) for one in range(LINES)) + b"\n"

    async def work() -> int:
        exchange = Exchange("application/x-ndjson")
        exchange.scope["headers"] += headers
        for _ in range(10):
            exchange.put(body)
        exchange.end()
        await exchange.start(endpoint)
        assert exchange.lines[-1]["summary"]["accepted"] == 10 * LINES
        return 10 * LINES

    return work


def _aggregator(headers: list[tuple[str, bytes]]) -> Round:
    """Ten batches, decoded and passed to a store that keeps nothing."""
    session = WriterSession(LINES)
    values = [events.encoded(events.envelope("issued", events.issued(one))) for one in range(LINES)]
    listed = tuple(headers or [("content-type", CONTENT_TYPE.encode())])
    at = 0

    async def work() -> int:
        nonlocal at
        async with session.running():
            for _ in range(10):
                records = [_record(at + n, one, listed) for n, one in enumerate(values)]
                at += LINES
                await session.writer.put(session.reader.spans(records))
            await session.writer.drained()
        session.store.batches.clear()
        return 10 * LINES

    return work


def _record(offset: int, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> ConsumerRecord[Any, Any]:
    topic, number = ISSUED_0.topic, ISSUED_0.number
    return ConsumerRecord(topic, number, offset, 0, 0, None, value, None, 0, len(value), headers)


_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def _measure(path: str, rounds: int, *, traced: bool) -> list[float]:
    """Microseconds of CPU per event in each round."""
    with ExitStack() as stack:
        if traced:
            from services.runtime import tracing  # earlier commits lack it
            from tests.support.collector import collecting

            address = stack.enter_context(collecting()).address
            tracing.start(Settings(otlp_endpoint=address, traces_per_second=1_000), path)
        parent = [("content-type", b"x"), ("traceparent", _PARENT.encode())] if traced else []
        as_http = [(b"traceparent", _PARENT.encode())] if traced else []
        work = _ingest(stack, as_http) if path == "ingest" else _aggregator(parent)
        taken = []
        for _ in range(rounds):
            began = time.process_time()
            done = await work()
            taken.append((time.process_time() - began) / done * 1e6)
        return taken


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tracing")
    parser.add_argument("path", choices=["ingest", "aggregator"])
    parser.add_argument("rounds", type=int)
    parser.add_argument("--traced", action="store_true")
    asked = parser.parse_args()
    gc.disable()
    taken = asyncio.run(_measure(asked.path, asked.rounds, traced=asked.traced))
    sys.stdout.write(f"{min(taken):.3f} {sorted(taken)[len(taken) // 2]:.3f} us per event: least, median\n")


if __name__ == "__main__":
    main()
