"""services.runtime.trace_export: a collector that is away, slow or refuses never delays the program."""

from __future__ import annotations

import asyncio
import io
import json
import time

import pytest

from deploy.local.ports import free_port
from services.runtime import trace_export, tracing
from services.runtime.settings import Settings
from tests.support.collector import collecting
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log_lines")


def spans(many: int) -> None:
    """Record spans."""
    for _ in range(many):
        with tracing.span("planted"):
            pass


async def _logged(log_lines: io.StringIO) -> list[dict[str, object]]:
    async def some() -> bool:
        return bool(log_lines.getvalue())

    await until(some, "a line in the log", 30)
    return [json.loads(line) for line in log_lines.getvalue().splitlines()]


async def test_an_unreachable_collector_is_one_line_in_the_log(log_lines: io.StringIO) -> None:
    tracing.start(Settings(otlp_endpoint=f"http://127.0.0.1:{free_port()}"), "ingest")
    spans(10)
    (line,) = await _logged(log_lines)
    spans(3 * trace_export.QUEUE)  # several exports fail
    await tracing.stop()
    assert line["event"] == "spans-not-exported"
    assert line["reason"] == (
        "the collector cannot be reached: start the collector, correct DDOR_OTLP_ENDPOINT, or unset it"
    )
    assert line["service"] == "ingest"
    assert "exception" not in line
    assert "Traceback" not in log_lines.getvalue()
    assert sum("collector cannot be reached" in one for one in log_lines.getvalue().splitlines()) == 1


async def test_a_collector_that_refuses_is_named_by_its_status(log_lines: io.StringIO) -> None:
    with collecting() as collector:
        collector.status = 401
        tracing.start(Settings(otlp_endpoint=collector.address), "ingest")
        spans(1)
        (line,) = await _logged(log_lines)
        await tracing.stop()
    assert str(line["reason"]).startswith("the collector responds with 401")


async def test_a_collector_that_does_not_respond_delays_nothing(log_lines: io.StringIO) -> None:
    """It hangs for as long as the test: spans are still recorded at once, and the end of the process is bounded."""
    with collecting() as collector:
        collector.open.clear()
        tracing.start(Settings(otlp_endpoint=collector.address), "ingest")
        spans(5 * trace_export.QUEUE)
        assert not collector.spans, "none of the spans waited for a response"
        loop = asyncio.get_running_loop()
        began, turns = time.monotonic(), 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        turning = loop.create_task(turn())
        await tracing.stop()
        took = time.monotonic() - began
        turning.cancel()
        assert trace_export.DRAIN_SECONDS <= took < 20, "a stop deadline has 30 seconds"
        assert turns > 10, "the event loop ran meanwhile"
    assert "Traceback" not in log_lines.getvalue()
    assert "no response within 3 s at the end" in log_lines.getvalue()


async def test_the_end_of_the_process_exports_what_is_queued() -> None:
    with collecting() as collector:
        tracing.start(Settings(otlp_endpoint=collector.address + "/"), "ingest")
        spans(trace_export.QUEUE // 2)
        await tracing.stop()
        assert len(collector.spans) == trace_export.QUEUE // 2


@pytest.mark.parametrize("problem", ["timeout", "tls", "other"])
def test_a_problem_is_named_without_the_address(problem: str) -> None:
    import requests

    errors = {
        "timeout": (requests.ReadTimeout("planted"), "the collector does not respond in time"),
        "tls": (requests.exceptions.SSLError("planted"), "the certificate of the collector is not trusted"),
        "other": (requests.exceptions.InvalidURL("planted"), "InvalidURL"),
    }
    error, words = errors[problem]
    assert trace_export._problem(error) == words
