"""What is done to whom, and when: a function of the seed. Pure."""

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
"""kill is SIGKILL, stop is SIGSTOP and later SIGCONT, restart is an orderly one."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One disturbance, once `after` events have been acknowledged. `seconds` is how long a stop lasts."""

    act: Act
    target: str
    after: int
    seconds: float

    @property
    def name(self) -> str:
        """What it is called in the table: `kill kafka`."""
        return f"{self.act} {self.target}"


def schedule(count: int, events: int, seed: int, deck: Deck = DECK) -> list[Blow]:
    """`count` blows, evenly over the events, from a deck that is shuffled anew whenever it is used up.

    A stop of an aggregator is sometimes longer than its lease.
    """
    chance = random.Random(seed)  # repeatable on purpose
    blows: list[Blow] = []
    while len(blows) < count:
        for act, target in chance.sample(deck, len(deck))[: count - len(blows)]:
            after = (len(blows) + 1) * events // (count + 1)
            blows.append(Blow(act, target, after, chance.choice((0.5, 1.5, 4.5))))
    return blows
