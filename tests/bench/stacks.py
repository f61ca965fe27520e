"""The stack of the benchmarks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.parts import choose_kafka, choose_postgres
from deploy.local.stack import Stack


@contextmanager
def native_stack() -> Iterator[Stack]:
    """Native Kafka and PostgreSQL with topics and schema, and services that are not started. Deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="ddor-bench-") as scratch:
        directory = Path(scratch)
        stack = Stack(
            directory / "stack",
            choose_kafka(directory / "kafka", source="native", real_only=True),
            choose_postgres(directory / "postgres", source="native"),
        )
        try:
            stack.prepare()
            yield stack
        finally:
            stack.down(delete=True)
