"""The three services as processes for one test, and the programs of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import postgres_install
from deploy.local.errors import PartUnavailableError
from deploy.local.parts import KafkaPart
from deploy.local.stack import Stack
from tests.support import kafka_log
from tests.support.stacks import stack


@pytest.fixture
def system(tmp_path: Path, own_kafka: KafkaPart, empty_database: str) -> Iterator[Stack]:
    """The ready services on an empty log and database. Weeks of the tests close only on request."""
    kafka_log.recreate_topics(own_kafka)
    with stack(tmp_path, own_kafka, empty_database, first_week="2030-01-05") as up:
        yield up


@pytest.fixture
def programs() -> Path:
    """The directory of psql."""
    try:
        return postgres_install.find_install().bin
    except PartUnavailableError as error:
        pytest.skip(f"there is no psql here: {error}")
