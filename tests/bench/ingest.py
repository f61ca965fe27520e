"""``python -m tests.bench.ingest``: how fast ingest takes events, beside what it cannot be faster than.

All in one run on one machine, medians of rounds: the service as a process of its own with real Kafka, by NDJSON, by
batches and by single events; (a) validation alone and (b) producing alone in one process; (c) a plain FastAPI service
that awaits `broker.publish`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local.parts import choose_kafka, choose_postgres
from deploy.local.ports import port_or_free
from deploy.local.service import Service
from deploy.local.stack import Stack
from schemas.acceptance_fast import accept_fast
from tests.bench import corpus
from tests.bench.machine import Measured, Usage, load, middle

_BODY_LINES = 10_000
_BATCH = 500
_FIXED_RATE = 500
_FIXED_SECONDS = 10
_CONNECTIONS = 32
_console = Console(highlight=False)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingest", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--singles", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    _console.print(load())
    with tempfile.TemporaryDirectory(prefix="ddor-bench-") as scratch:
        directory = Path(scratch)
        stack = Stack(
            directory / "stack",
            choose_kafka(directory / "kafka", kind="native", real_only=True),
            choose_postgres(directory / "postgres", kind="native"),
        )
        try:
            stack.prepare()
            table = asyncio.run(_run(stack, arguments.events, arguments.singles, arguments.rounds))
        finally:
            stack.down(delete=True)
    _console.print(table)


async def _run(stack: Stack, events: int, singles: int, rounds: int) -> Table:
    values = [value for _, value in corpus.events(events, seed=1)]
    ours = [value.replace(b"/agencies/bench", b"/agencies/demo") for value in values]
    ingest = stack.services["ingest"]
    ingest.start()
    key = stack.state.agency_key()
    bodies = [b"\n".join(ours[at : at + _BODY_LINES]) for at in range(0, events, _BODY_LINES)]
    batches = [b"[" + b",".join(ours[at : at + _BATCH]) + b"]" for at in range(0, events, _BATCH)]
    client = Client(ingest, key)
    rows: list[tuple[str, Measured, str]] = []

    async def repeat(name: str, measure: Callable[[], Coroutine[Any, Any, Measured]], note: str = "") -> None:
        found = []
        for number in range(rounds):
            found.append(await measure())
            _console.print(f"  {name}, round {number + 1}: {found[-1].rate:,.0f}/s")
        rows.append((name, middle(found), note))

    await repeat("(a) validation alone", lambda: _validate(ours))
    await repeat("(b) producing alone", lambda: _produce(stack, events))
    await repeat("NDJSON", lambda: client.post_all(bodies, "application/x-ndjson", events, connections=2))
    await repeat("batches of 500", lambda: client.post_all(batches, "application/cloudevents-batch+json", events, 4))
    single = "application/cloudevents+json"
    await repeat("singles", lambda: client.post_all(ours[:singles], single, singles, _CONNECTIONS))
    latencies = await client.at_fixed_rate(ours[: _FIXED_RATE * _FIXED_SECONDS], single)
    cuts = quantiles(latencies, n=100)
    note = f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"
    rows.append((f"singles at {_FIXED_RATE}/s", Measured(_FIXED_RATE), note))
    ingest.stop()
    async with _plain(stack) as service:
        plain = Client(service, key)
        some = values[:singles]
        await repeat(
            "(c) FastAPI, broker.publish", lambda: plain.post_all(some, "application/json", singles, _CONNECTIONS)
        )
    return _table(rows, events)


class Client:
    """A client that costs little: HTTP/1.1 over asyncio streams, bodies ready beforehand."""

    def __init__(self, service: Service, key: str) -> None:
        self._service = service
        self._key = key

    async def post_all(self, bodies: Sequence[bytes], media_type: str, events: int, connections: int) -> Measured:
        """Post all bodies over so many connections at once; events a second and the server's share."""
        waiting = iter(bodies)
        process = self._service.process.find()
        assert process is not None, "the service runs"
        usage = Usage(process)

        async def work() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._service.port)
            for body in waiting:
                await self._post(reader, writer, body, media_type)
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(work() for _ in range(connections)))
        return Measured(events / usage.seconds, usage.cpu_seconds / events * 1e6, usage.peak_megabytes)

    async def at_fixed_rate(self, bodies: Sequence[bytes], media_type: str) -> list[float]:
        """Seconds from when each post was due to its answer: a late start counts too."""
        pairs = [await asyncio.open_connection("127.0.0.1", self._service.port) for _ in range(_CONNECTIONS)]
        idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        for pair in pairs:
            idle.put_nowait(pair)
        began = perf_counter()

        async def one(number: int, body: bytes) -> float:
            due = began + number / _FIXED_RATE
            await asyncio.sleep(max(0.0, due - perf_counter()))
            pair = await idle.get()
            reader, writer = pair
            await self._post(reader, writer, body, media_type)
            idle.put_nowait(pair)
            return perf_counter() - due

        latencies = await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))
        for _, writer in pairs:
            writer.close()
            await writer.wait_closed()
        return latencies

    async def _post(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, media_type: str
    ) -> None:
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer[9:12])
        if status not in (200, 202, 207):
            raise RuntimeError(f"the service answers {status}")
        if b"transfer-encoding: chunked" in answer.lower():
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        else:
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))


async def _validate(values: Sequence[bytes]) -> Measured:
    usage = Usage(psutil.Process())
    for value in values:
        accept_fast(value)
    return Measured(len(values) / usage.seconds, usage.cpu_seconds / len(values) * 1e6)


async def _produce(stack: Stack, events: int) -> Measured:
    usage = Usage(psutil.Process())
    await corpus.produce({"bootstrap_servers": stack.kafka.bootstrap}, events, seed=2)
    return Measured(events / usage.seconds, usage.cpu_seconds / events * 1e6)


@asynccontextmanager
async def _plain(stack: Stack) -> AsyncIterator[Service]:
    port = port_or_free(0)
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.bench.plain_ingest:app",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    service = Service(
        "plain", command, env=dict(os.environ) | stack.variables(), port=port, state=stack.state.directory
    )
    service.start()
    try:
        yield service
    finally:
        service.stop()


def _table(rows: list[tuple[str, Measured, str]], events: int) -> Table:
    table = Table(
        title=f"{events:,} events of about 600 bytes, validated, acknowledged by Kafka, receipts read; medians"
    )
    table.add_column("")
    for name in ("events/s", "server CPU us/event", "peak MB", ""):
        table.add_column(name, justify="right")
    for name, found, note in rows:
        cpu = f"{found.cpu_us:.1f}" if found.cpu_us is not None else ""
        memory = f"{found.megabytes:.0f}" if found.megabytes is not None else ""
        table.add_row(name, f"{found.rate:,.0f}", cpu, memory, note)
    return table


if __name__ == "__main__":
    main()
