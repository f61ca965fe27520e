"""tests.chaos: the story and the schedule are functions of the seed, and every record of the story is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import EVENT_TOPICS
from tests.chaos.producing import Acknowledged, Gate, Producers
from tests.chaos.schedule import DECK, schedule
from tests.chaos.story import Story, Telling
from tests.chaos.verifying import names
from tests.support import foreign
from tests.support.kafka_log import Message


def test_a_seed_determines_the_schedule_and_the_story() -> None:
    assert schedule(45, 9_000, 7) == schedule(45, 9_000, 7) != schedule(45, 9_000, 8)
    assert list(Story(7, 500)) == list(Story(7, 500)) != list(Story(8, 500))


def test_a_schedule_has_all_kinds_evenly_distributed_over_the_events() -> None:
    blows = schedule(20, 2_100, 3)
    assert sorted((blow.act, blow.target) for blow in blows) == sorted(DECK)
    assert [blow.after for blow in blows] == [100 * number for number in range(1, 21)]


def test_a_story_has_every_kind_of_record() -> None:
    records = list(Story(1, 3_000))
    assert 0 < sum(not one.is_event for one in records) < 200
    assert len({one.message.value for one in records}) < len(records)
    assert any(b'"withdrawn":true' in (one.message.value or b"") for one in records)
    assert {one.message.topic for one in records if one.is_event} == {topic.name for topic in EVENT_TOPICS}


class Held(Gate):
    """Closed until `opened`; `reached` is set once a producer waits."""

    def __init__(self) -> None:
        super().__init__(Acknowledged())
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def open(self) -> None:
        self.reached.set()
        await self.opened.wait()


async def test_invalid_records_left_at_the_end_of_the_story_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """One producer holds the last records while the writing producer finds that the story is over."""
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
        await asyncio.sleep(0)  # the other producers find that the story is over
    gate.opened.set()
    await running
    assert len(written) == 3


@dataclass(frozen=True)
class OnTopic:
    """A record of `report-ready`."""

    offset: int
    value: bytes | None


@given(st.lists(foreign.VALUES, max_size=3))
def test_a_foreign_record_is_listed_by_its_offset(values: list[bytes | None]) -> None:
    one = b'{"type":"report-ready","subject":"2017-01-28","data":{"revision":1}}'
    records = [
        OnTopic(0, one),
        OnTopic(1, one + b" "),
        *(OnTopic(at, value) for at, value in enumerate(values, start=2)),
    ]
    named, strange = names(records)
    assert named["report-ready 2017-01-28@1"] == 2, "one revision with two contents"
    assert strange == [2 + at for at in range(len(values))]
