"""``python -m tests.bench.ingest``: throughput of ingest, compared with its upper bounds.

All in one run on one machine, medians of rounds after a warm-up round: the service as a separate process with real
Kafka, with NDJSON, batches and single events; (a) validation alone and (b) producing alone in one process; (c) a
plain FastAPI service that awaits `broker.publish`; (d) the service itself without storing. The number of busy cores
of the client shows that the client is not the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from statistics import quantiles
from typing import Any

import psutil
from rich.table import Table

from deploy.local.kafka_native import NativeKafka
from deploy.local.ports import port_or_free
from deploy.local.service import Service
from deploy.local.stack import Stack
from schemas.acceptance import accept
from schemas.acceptance_fast import accept_fast
from schemas.fact import Fact
from services.cli.console import out, table
from services.ingest.body.media_types import BATCH, LINES, SINGLE
from tests.bench import corpus
from tests.bench.client import Client
from tests.bench.machine import Measured, Usage, load, middle
from tests.bench.stacks import native_stack

_BODY_LINES = 10_000
_BATCH = 500
_FIXED_RATE = 500
_FIXED_SECONDS = 10
_OUTAGE_SECONDS = 5.0
_FORMS = (",.0f", ".1f", ".0f", ".2f", ".2f", ".2f")


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingest", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--singles", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    out.print(load())
    with native_stack() as stack:
        measured = asyncio.run(_run(stack, arguments.events, arguments.singles, arguments.rounds))
    out.print(measured)


async def _run(stack: Stack, events: int, singles: int, rounds: int) -> Table:
    records = list(corpus.events(events, seed=1))
    values = [value for _, value in records]
    own = [value.replace(b"/agencies/bench", b"/agencies/demo") for value in values]
    bodies = [b"\n".join(own[at : at + _BODY_LINES]) for at in range(0, events, _BODY_LINES)]
    batches = [b"[" + b",".join(own[at : at + _BATCH]) + b"]" for at in range(0, events, _BATCH)]
    key = stack.state.agency_key()
    rows = Rows(rounds)
    await rows.measure("(a) validation alone", lambda: _validate(own, accept_fast))
    await rows.measure("the same rules, pydantic models", lambda: _validate(own[:singles], accept))
    await rows.measure("(b) producing alone", lambda: _produce(stack, records))
    ingest = stack.services["ingest"]
    ingest.start()
    client = Client(ingest, key, _kafka(stack))
    await rows.measure("NDJSON", lambda: client.post_all(bodies, LINES, events, connections=2))
    await rows.measure("batches of 500", lambda: client.post_all(batches, BATCH, events, connections=4))
    await rows.measure("singles", lambda: client.post_all(own[:singles], SINGLE, singles))
    latencies = await client.at_fixed_rate(own[: _FIXED_RATE * _FIXED_SECONDS], SINGLE, _FIXED_RATE)
    cuts = quantiles(latencies, n=100)
    rows.note(f"singles at {_FIXED_RATE}/s", f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms")
    rows.note("Kafka gone", await _outage(stack, client, own[0]))
    ingest.stop()
    with _service(stack, "uvicorn", "tests.bench.plain_ingest:app", "--log-level", "error") as service:
        plain = Client(service, key, _kafka(stack))
        await rows.measure(
            "(c) FastAPI, broker.publish", lambda: plain.post_all(values[:singles], "application/json", singles)
        )
    with _service(stack, "tests.bench.bare_ingest") as service:
        bare = Client(service, key, _kafka(stack))
        await rows.measure("(d) NDJSON, nothing stored", lambda: bare.post_all(bodies, LINES, events, connections=2))
    for name in ("NDJSON", "batches of 500"):
        rows.compare(name, "(a) validation alone", "(c) FastAPI, broker.publish", "(d) NDJSON, nothing stored")
    return rows.table(f"{events:,} events of about 600 bytes, validated, acknowledged by Kafka, receipts read; medians")


class Rows:
    """The table of measurements and notes."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._found: dict[str, Measured | None] = {}
        self._notes: dict[str, str] = {}

    async def measure(self, name: str, once: Callable[[], Coroutine[Any, Any, Measured]]) -> None:
        """Measure several rounds after a warm-up round. The row has the median."""
        await once()
        found = []
        for number in range(self._rounds):
            found.append(await once())
            out.print(f"  {name}, round {number + 1}: {found[-1].rate:,.0f}/s")
        self._found[name] = middle(found)

    def note(self, name: str, text: str) -> None:
        """Add a row of text."""
        self._found.setdefault(name, None)
        self._notes[name] = text

    def compare(self, name: str, *others: str) -> None:
        """Add a comparison of a row with others."""
        rate = self._rate(name)
        self._notes[name] = ", ".join(f"{rate / self._rate(other):.2g} x {other.split()[0]}" for other in others)

    def _rate(self, name: str) -> float:
        found = self._found[name]
        assert found is not None, "measured"
        return found.rate

    def table(self, title: str) -> Table:
        """All rows. For client, Kafka and others: the number of busy cores."""
        numbers = (">events/s", ">server us/event", ">peak MB", ">client", ">Kafka", ">others")
        shown = table("", *numbers, "", title=title)
        for name, one in self._found.items():
            figures = [""] * len(_FORMS)
            if one is not None:
                values = (one.rate, one.cpu_us, one.megabytes, one.client, one.kafka, one.others)
                figures = [
                    "" if value is None else f"{value:{form}}" for value, form in zip(values, _FORMS, strict=True)
                ]
            shown.add_row(name, *figures, self._notes.get(name, ""))
        return shown


def _kafka(stack: Stack) -> psutil.Process | None:
    return stack.kafka.process.find() if isinstance(stack.kafka, NativeKafka) else None


async def _outage(stack: Stack, client: Client, body: bytes) -> str:
    """The longest time until a request got 503, while Kafka was paused and after it was stopped."""
    found = []
    for begin, end in ((stack.kafka.pause, stack.kafka.resume), (stack.kafka.stop, stack.kafka.start)):
        await asyncio.to_thread(begin)
        responses = await client.for_a_while(body, SINGLE, _OUTAGE_SECONDS)
        await asyncio.to_thread(end)
        refused = [one for one in responses if (one.status, one.retry_after) == (503, True)]
        if len(refused) < len(responses):
            raise RuntimeError(f"without Kafka the service responds { ({one.status for one in responses}) }")
        found.append(max(one.seconds for one in refused))
        await asyncio.to_thread(stack.services["ingest"].wait_ready)
    return "503 after {:.2f} s at most while Kafka is paused, {:.2f} s after it stopped".format(*found)


async def _validate(values: Sequence[bytes], by: Callable[[bytes], Fact]) -> Measured:
    usage = Usage(psutil.Process())
    for value in values:
        by(value)
    return Measured(len(values) / usage.seconds, usage.cpu_seconds / len(values) * 1e6)


async def _produce(stack: Stack, records: Sequence[tuple[bytes, bytes]]) -> Measured:
    usage = Usage(psutil.Process())
    await corpus.produce({"bootstrap_servers": stack.kafka.bootstrap}, records)
    return Measured(len(records) / usage.seconds, usage.cpu_seconds / len(records) * 1e6)


@contextmanager
def _service(stack: Stack, module: str, *arguments: str) -> Iterator[Service]:
    """A module that serves on the port of ingest."""
    port = port_or_free(0)
    listening = {"UVICORN_PORT": str(port), "DDOR_INGEST_PORT": str(port)}
    command = [sys.executable, "-m", module, *arguments]
    service = Service("compared", command, env=stack.environment() | listening, port=port, state=stack.state.directory)
    service.start()
    try:
        yield service
    finally:
        service.stop()


if __name__ == "__main__":
    main()
