"""services.runtime.tracing: off without a collector; an error that names what is missing; spans without messages."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.trace import get_current_span

from services.runtime import tracing
from services.runtime.settings import Settings
from tests.support.agencies import write_agencies
from tests.support.collector import Collector, attributes, collecting, parent

_BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "requests", "google")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
_SERVE = "import sys; sys.argv = ['ddor', 'ingest', 'serve']; from services.cli.main import main; main()"
_CREATE = """
import sys, threading
from services.runtime import logs, settings, tracing
from services.ingest import app as ingest
from services.aggregator import app as aggregator
loaded = settings.load()
logs.configure(loaded, "ingest")
tracing.start(loaded, "ingest")
ingest.create(loaded), aggregator.create(loaded)
with tracing.span("planted") as span:
    print(tracing.is_on(), span.is_recording(), tracing.record_headers())
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))))
print([one.name for one in threading.enumerate()])
"""


def run(code: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with only these settings."""
    agencies = {"DDOR_AGENCIES_FILE": str(write_agencies(directory / "agencies.toml")), "DDOR_INGEST_PORT": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=agencies | variables, capture_output=True, text=True, timeout=300, check=False
    )


def test_without_a_collector_no_sdk_is_imported_and_no_thread_started(tmp_path: Path) -> None:
    done = run(_CREATE, tmp_path)
    assert done.stdout.splitlines() == ["False False []", "[]", "['MainThread']"], done.stderr


def test_a_service_without_the_extra_does_not_need_it(tmp_path: Path) -> None:
    done = run(_BLOCKED + _CREATE, tmp_path)
    assert done.stdout.splitlines() == ["False False []", "[]", "['MainThread']"], done.stderr


def test_a_collector_without_the_extra_is_refused_with_what_to_install(tmp_path: Path) -> None:
    done = run(_BLOCKED + _SERVE, tmp_path, DDOR_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert done.returncode == 2
    assert "DDOR_OTLP_ENDPOINT needs packages that are not installed" in done.stderr
    assert "weekly-detainer-report[tracing]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    with collecting() as one:
        tracing.start(Settings(otlp_endpoint=one.address), "ingest")
        try:
            yield one
        finally:
            await tracing.stop()


async def test_a_failed_span_has_the_type_of_the_error_and_never_its_message(collector: Collector) -> None:
    with pytest.raises(ValueError, match="planted"), tracing.span("failed"):
        raise ValueError("planted")
    with pytest.raises(asyncio.CancelledError), tracing.span("cancelled"):
        raise asyncio.CancelledError
    await tracing.stop()
    (failed,), (cancelled,) = collector.named("failed"), collector.named("cancelled")
    assert attributes(failed) == {"error.type": "ValueError"}
    assert (failed.status.code, cancelled.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert b"planted" not in failed.SerializeToString()
    assert not failed.events


async def test_a_span_is_current_within_its_block_only(collector: Collector) -> None:
    with tracing.span("outer") as outer, tracing.span("inner"):
        tracing.annotate({"ddor.week": "2017-01-28"})
    assert not get_current_span().get_span_context().is_valid
    begun = tracing.begin("begun")
    assert not get_current_span().get_span_context().is_valid
    with tracing.within(begun):
        assert get_current_span() is begun
    begun.end()
    await tracing.stop()
    assert outer.get_span_context().span_id == int.from_bytes(collector.named("inner")[0].parent_span_id)
    assert attributes(collector.named("inner")[0]) == {"ddor.week": "2017-01-28"}
    assert not collector.named("begun")[0].parent_span_id
    assert collector.services == {"ddor-ingest"}


async def test_stopping_ends_the_thread_and_tracing(collector: Collector) -> None:
    assert tracing.is_on()
    assert any("Otel" in one.name for one in threading.enumerate())
    await tracing.stop()
    assert not tracing.is_on()
    assert not any("Otel" in one.name for one in threading.enumerate())
    assert parent() not in str(tracing.record_headers())
