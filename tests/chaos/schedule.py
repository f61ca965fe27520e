"""The schedule of blows as a function of the seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

Act = Literal["kill", "stop", "restart"]
Deck: TypeAlias = tuple[tuple[Act, str], ...]
AGGREGATORS = ("aggregator", "aggregator-2")
PARTS = ("postgres", "kafka")

DECK: Deck = (
    ("kill", "aggregator"),
    ("kill", "aggregator"),
    ("kill", "aggregator"),
    ("kill", "aggregator-2"),
    ("kill", "aggregator-2"),
    ("kill", "ingest"),
    ("kill", "ingest"),
    ("kill", "ingest"),
    ("kill", "publisher"),
    ("kill", "publisher"),
    ("stop", "aggregator"),
    ("stop", "aggregator"),
    ("stop", "aggregator-2"),
    ("stop", "ingest"),
    ("stop", "publisher"),
    ("restart", "aggregator"),
    ("kill", "postgres"),
    ("restart", "postgres"),
    ("kill", "kafka"),
    ("restart", "kafka"),
)
"""kill is SIGKILL, stop is SIGSTOP and later SIGCONT, restart is a clean restart."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One disturbance after `after` acknowledged events. `seconds` is the duration of a stop."""

    act: Act
    target: str
    after: int
    seconds: float

    @property
    def name(self) -> str:
        """Its name in the table: `kill kafka`."""
        return f"{self.act} {self.target}"


def schedule(count: int, events: int, seed: int, deck: Deck = DECK) -> list[Blow]:
    """`count` blows, evenly distributed over the events, from a deck that is reshuffled when empty.

    A stop of an aggregator is sometimes longer than its lease.
    """
    chance = random.Random(seed)  # reproducible, not for security
    blows: list[Blow] = []
    while len(blows) < count:
        for act, target in chance.sample(deck, len(deck))[: count - len(blows)]:
            after = (len(blows) + 1) * events // (count + 1)
            blows.append(Blow(act, target, after, chance.choice((0.5, 1.5, 4.5))))
    return blows
