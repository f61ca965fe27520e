"""tests.chaos: what is told and what is done to whom are functions of the seed."""

from __future__ import annotations

from tests.chaos.schedule import DECK, schedule
from tests.chaos.story import Story


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
