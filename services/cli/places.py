"""Places in the log as operators write them: topic/partition or topic/partition/offset."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.topics import EVENT_TOPICS
from services.aggregator.leases import Partition
from services.runtime.errors import CallerError

_PLACE = re.compile(r"([a-z-]+)/([0-9]{1,5})(?:/(-?[0-9]{1,18}))?")


class NotAPlaceError(CallerError):
    """This is not a place in the log."""


@dataclass(frozen=True, slots=True)
class Place:
    """One record: its partition and offset, below 0 in a log that another has taken the place of."""

    partition: Partition
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


def partition(text: str) -> Partition:
    """Read topic/partition; NotAPlaceError says what is wrong."""
    match = _PLACE.fullmatch(text)
    if match is None or match[3] is not None:
        raise NotAPlaceError(f"{text!r}: write topic/partition, such as detainer-issued/3")
    return _known(match[1], int(match[2]))


def place(text: str) -> Place:
    """Read topic/partition/offset; NotAPlaceError says what is wrong."""
    match = _PLACE.fullmatch(text)
    if match is None or match[3] is None:
        raise NotAPlaceError(f"{text!r}: write topic/partition/offset, such as detainer-issued/3/1742")
    return Place(_known(match[1], int(match[2])), int(match[3]))


def _known(topic: str, number: int) -> Partition:
    if topic not in {one.name for one in EVENT_TOPICS}:
        raise NotAPlaceError(f"there is no topic {topic}; there are {', '.join(one.name for one in EVENT_TOPICS)}")
    return Partition(topic, number)
