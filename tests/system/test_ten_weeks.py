"""Ten weeks of operation with every kind of incident. `tests.system.ten_weeks` describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.parts import KafkaPart
from tests.system import ten_weeks


@pytest.mark.long("a long scenario; other tests show its parts")
@pytest.mark.real_kafka("is not used for fencing and recovery")
async def test_ten_weeks(own_kafka: KafkaPart, empty_database: str, tmp_path: Path) -> None:
    await ten_weeks.run(empty_database, own_kafka.bootstrap, tmp_path)
