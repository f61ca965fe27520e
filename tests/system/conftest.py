"""The three services as processes of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from tests.support.stacks import stack


@pytest.fixture
def system(tmp_path: Path, own_kafka: KafkaPart, empty_database: str) -> Iterator[Stack]:
    """The services, ready. No week of the tests is one that closes by itself."""
    with stack(tmp_path, own_kafka, empty_database, first_week="2030-01-05") as up:
        yield up
