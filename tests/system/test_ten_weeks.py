"""Ten weeks of life with all that can happen to a week; see `tests.system.ten_weeks` for the story."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from deploy.local.parts import KafkaPart
from tests.system import ten_weeks


@pytest.mark.real_kafka("is not asked to fence and to recover")
async def test_ten_weeks(own_kafka: KafkaPart, empty_database: str, tmp_path: Path) -> None:
    await ten_weeks.run(empty_database, own_kafka.bootstrap, tmp_path, Console(width=150))
