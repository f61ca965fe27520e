"""A short run of the harness without violations, and runs with faulty aggregators that it must detect."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from deploy.local.errors import LocalError
from deploy.local.parts import choose_kafka
from tests.chaos.running import COMMAND, UNFINISHED, Chaos
from tests.chaos.schedule import Blow, schedule

pytestmark = [
    pytest.mark.real_kafka("loses acknowledged records on kill -9"),
    pytest.mark.long("the kill loop"),
    pytest.mark.usefixtures("own_parts"),
]

_EVENTS = 8_000
_WRONG = (sys.executable, "-m", "tests.chaos.wrong")


@pytest.fixture
def own_parts(caplog: pytest.LogCaptureFixture) -> None:
    """Skip if the only Kafka is an external one, which tests must not kill."""
    try:
        choose_kafka(Path(), real_only=True)
    except LocalError as error:
        pytest.skip(str(error))
    caplog.set_level(logging.CRITICAL, "aiokafka")  # thousands of lines while Kafka is away


async def test_20_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    outcome = await Chaos(tmp_path, schedule(20, _EVENTS, 1), _EVENTS, 1, (sys.executable, *COMMAND)).run()
    assert outcome.verdict.violations == []
    assert (outcome.verdict.lost, outcome.verdict.doubled) == (0, 0)
    assert outcome.blows.total() == 20
    assert outcome.acknowledged >= _EVENTS
    assert outcome.verdict.reports >= 4, "a first revision of each week, and later ones"


async def test_an_aggregator_without_the_fence_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_TEST_WRONG", "unfenced")
    # Several, because a stopped aggregator whose batch is cancelled first does no harm.
    blows = [Blow("stop", "aggregator", (n + 1) * _EVENTS // 7, 6) for n in range(6)]
    verdict = (await Chaos(tmp_path, blows, _EVENTS, 1, _WRONG, patience=30).run()).verdict
    assert verdict.doubled > 0, verdict.violations


async def test_a_position_moved_before_the_write_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_TEST_WRONG", "early")
    blows = schedule(4, _EVENTS, 1, (("kill", "aggregator"), ("kill", "aggregator-2")))
    verdict = (await Chaos(tmp_path, blows, _EVENTS, 1, _WRONG, patience=30).run()).verdict
    assert verdict.lost > 0, verdict.violations
    assert not [one for one in verdict.violations if one.startswith(UNFINISHED)], (
        "all records were read, and some facts are missing"
    )


async def test_a_run_that_stalls_ends_with_the_state_of_all_parts(tmp_path: Path) -> None:
    never = [Blow("kill", "kafka", 10_000, 0)]  # after more events than there are
    verdict = (await Chaos(tmp_path, never, 500, 1, (sys.executable, *COMMAND), patience=2).run()).verdict
    (stalled,) = verdict.violations
    assert stalled.startswith("no event was acknowledged for")
    assert "\nkafka: responds\npostgres: responds\n" in stalled
    assert "\npublisher: ready\n" in stalled
