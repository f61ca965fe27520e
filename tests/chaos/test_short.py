"""A short run of the harness, which has to find nothing; and runs of wrong aggregators, in which it has to find it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.local.errors import LocalError
from deploy.local.parts import choose_kafka
from tests.chaos.running import COMMAND, Chaos
from tests.chaos.schedule import DECK, Blow, schedule
from tests.chaos.story import Story

pytestmark = pytest.mark.real_kafka("loses acknowledged records on kill -9")

_EVENTS = 8_000


@pytest.fixture
def own_parts() -> None:
    """Skips where no real Kafka can be started: one that the settings name is not ours to kill."""
    try:
        kind = choose_kafka(Path(), real_only=True).kind
    except LocalError as error:
        pytest.skip(str(error))
    if kind == "settings":
        pytest.skip("a Kafka that the settings name is not ours to kill")


@pytest.mark.usefixtures("own_parts")
async def test_20_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    outcome = await Chaos(tmp_path, schedule(20, _EVENTS, 1), _EVENTS, 1, (sys.executable, *COMMAND)).run()
    assert outcome.verdict.violations == []
    assert (outcome.verdict.lost, outcome.verdict.doubled) == (0, 0)
    assert outcome.blows.total() == 20
    assert outcome.acknowledged >= _EVENTS
    assert outcome.verdict.reports >= 4, "a first revision of each week, and later ones"


@pytest.mark.usefixtures("own_parts")
async def test_an_aggregator_without_the_fence_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDOR_TEST_WRONG", "unfenced")
    blows = [Blow("stop", "aggregator", (n + 1) * _EVENTS // 6, 6) for n in range(5)]
    outcome = await Chaos(tmp_path, blows, _EVENTS, 1, (sys.executable, "-m", "tests.chaos.wrong"), patience=30).run()
    assert outcome.verdict.doubled > 0, outcome.verdict.violations


@pytest.mark.usefixtures("own_parts")
async def test_a_position_that_is_moved_before_the_write_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DDOR_TEST_WRONG", "early")
    blows = schedule(8, _EVENTS, 1, (("kill", "aggregator"), ("kill", "aggregator-2")))
    outcome = await Chaos(tmp_path, blows, _EVENTS, 1, (sys.executable, "-m", "tests.chaos.wrong"), patience=30).run()
    assert outcome.verdict.lost > 0, outcome.verdict.violations


def test_the_same_seed_is_the_same_schedule_and_the_same_story() -> None:
    assert schedule(45, 9_000, 7) == schedule(45, 9_000, 7) != schedule(45, 9_000, 8)
    assert list(Story(7, 500)) == list(Story(7, 500)) != list(Story(8, 500))


def test_a_schedule_has_all_kinds_in_turn_and_lies_evenly_over_the_events() -> None:
    blows = schedule(20, 2_100, 3)
    assert sorted((blow.act, blow.target) for blow in blows) == sorted(DECK)
    assert [blow.after for blow in blows] == [100 * number for number in range(1, 21)]


def test_a_story_has_everything_in_it() -> None:
    told = list(Story(1, 3_000))
    assert 0 < sum(not one.is_event for one in told) < 200
    assert len({one.message.value for one in told}) < len(told)
    assert any(b'"withdrawn":true' in (one.message.value or b"") for one in told)
