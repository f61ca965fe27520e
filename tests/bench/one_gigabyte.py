"""``python -m tests.bench.one_gigabyte``: one request with a body of a gigabyte, through to the counters.

Lines are sent and receipts read at the same time. Requirements: the service's memory is constant, each line has one
receipt in order, and once the aggregator is at the end of the log, the counters in PostgreSQL equal the number of
detainers sent. Exit code 1 on any violation.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

import msgspec
import psutil

from deploy.local.service import Service
from deploy.local.stack import Stack
from services.cli.console import out
from services.ingest.body.media_types import LINES
from tests.bench import corpus
from tests.bench.machine import Usage, load
from tests.bench.stacks import native_stack
from tests.support import kafka_log
from tests.support.stacks import looking

MOST_MEGABYTES = 150
_CHUNK = 500
_DRAIN_SECONDS = 600
_line_number = re.compile(rb'"line":(\d+),"status":"accepted"').findall


@dataclass
class Progress:
    """The numbers of lines sent and receipts read."""

    sent: int = 0
    size: int = 0
    identities: set[bytes] = field(default_factory=set)
    receipts: int = 0
    summary: dict[str, int] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    """Resident megabytes of the service, every fifth of a second."""


def main() -> int:
    """Run it and print the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.one_gigabyte", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1_000, help="how many millions of bytes")
    arguments = parser.parse_args()
    out.print(load())
    with native_stack() as stack:
        for name in ("ingest", "aggregator"):
            stack.services[name].start()
        return asyncio.run(_run(stack, arguments.megabytes * 1_000_000))


async def _run(stack: Stack, size: int) -> int:
    ingest, progress = stack.services["ingest"], Progress()
    process = ingest.process.find()
    assert process is not None, "the service runs"
    usage = Usage(process)
    watching = asyncio.create_task(_watch(process, progress))
    await _post(ingest, stack.state.agency_key(), size, progress)
    measured = usage.measured(progress.sent)
    watching.cancel()
    began = perf_counter()
    async with looking(stack.variables()["DDOR_POSTGRES_DSN"]) as connection:
        await kafka_log.counted(connection, stack.kafka.bootstrap, _DRAIN_SECONDS)
        drained = perf_counter() - began
        counted = await connection.fetchval("SELECT sum(n)::bigint FROM weekly_counter")
        records = await connection.fetchval("SELECT sum(records)::bigint FROM partition_position")
    early = max(progress.memory[: len(progress.memory) // 10 + 1])
    requirements = {
        f"{progress.size:,} bytes, {progress.sent:,} lines in one request": progress.size >= size,
        f"{measured.rate:,.0f} lines/s at {measured.cpu_us:.1f} us of server CPU a line, aggregator beside it": True,
        f"{progress.receipts:,} receipts in order, summary {progress.summary}": (
            progress.receipts == progress.sent == progress.summary.get("lines") == progress.summary.get("accepted")
        ),
        f"resident memory {early:.0f} MB in the first tenth, {max(progress.memory):.0f} MB at most, "
        f"peak {measured.megabytes:.0f} MB": (measured.megabytes or 0) < MOST_MEGABYTES,
        f"{records:,} records read, {drained:.0f} s after the last receipt": records == progress.sent,
        f"{counted:,} detainers in weekly_counter, {len(progress.identities):,} sent": counted
        == len(progress.identities),
    }
    for text, met in requirements.items():
        out.print("ok " if met else "FAILED", text)
    return 0 if all(requirements.values()) else 1


async def _watch(process: psutil.Process, progress: Progress) -> None:
    while True:
        progress.memory.append(process.memory_info().rss / 1_048_576)
        await asyncio.sleep(0.2)


async def _post(ingest: Service, key: str, size: int, progress: Progress) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(
        f"POST /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {LINES}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    reading = asyncio.create_task(_read(reader, progress))
    for chunk in _chunks(size, progress):
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await reading
    writer.close()
    await writer.wait_closed()


def _chunks(size: int, progress: Progress) -> Iterator[bytes]:
    """Lines until the body has `size` bytes; 2 % of the events are duplicates."""
    events = corpus.events(sys.maxsize, seed=1)
    while progress.size < size:
        lines = []
        for _ in range(_CHUNK):
            key, value = next(events)
            progress.identities.add(key)
            lines.append(value.replace(b"/agencies/bench", b"/agencies/demo", 1))
        chunk = b"\n".join(lines) + b"\n"
        progress.sent += _CHUNK
        progress.size += len(chunk)
        yield chunk


async def _read(reader: asyncio.StreamReader, progress: Progress) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 207"):
        raise RuntimeError(f"the service responds {head.splitlines()[0].decode()}")
    rest = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        rest += (await reader.readexactly(size + 2))[:-2]
        whole, _, rest = rest.rpartition(b"\n")
        for number in map(int, _line_number(whole)):
            progress.receipts += 1
            if number != progress.receipts:
                raise RuntimeError(f"receipt {number:,} comes where {progress.receipts:,} should")
        if b'"summary"' in whole:
            progress.summary = msgspec.json.decode(whole.splitlines()[-1])["summary"]
    await reader.readexactly(2)


if __name__ == "__main__":
    raise SystemExit(main())
