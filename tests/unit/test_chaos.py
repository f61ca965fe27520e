"""tests.chaos: what is told and what is done to whom are functions of the seed; all that is told is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from schemas.topics import EVENT_TOPICS
from tests.chaos.producing import Acknowledged, Gate, Producers
from tests.chaos.schedule import DECK, schedule
from tests.chaos.story import Story, Telling
from tests.support.kafka_log import Message


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
    assert {one.message.topic for one in told if one.is_event} == {topic.name for topic in EVENT_TOPICS}


class Held(Gate):
    """Closed until `opened`; `reached` once somebody stands before it."""

    def __init__(self) -> None:
        super().__init__(Acknowledged())
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def open(self) -> None:
        self.reached.set()
        await self.opened.wait()


async def test_what_is_handed_on_when_the_story_is_over_is_written_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """One has taken all that is left, and the one who is to write it finds nothing, before it is handed on."""
    written: list[Message] = []

    async def write(_self: Producers, _bootstrap: str, some: Sequence[Message]) -> list[Message]:
        written.extend(some)
        return []

    monkeypatch.setattr(Producers, "_written", write)
    no_events = [Telling(Message("detainer-issued", b"{", partition=0), False) for _ in range(3)]
    gate = Held()
    producers = Producers(iter(no_events), Acknowledged(), gate, chunk=3)
    running = asyncio.create_task(producers.run("http://nowhere", "a-key", "nowhere"))
    await gate.reached.wait()
    for _ in range(3):
        await asyncio.sleep(0)  # the others find that the story is over
    gate.opened.set()
    await running
    assert len(written) == 3
