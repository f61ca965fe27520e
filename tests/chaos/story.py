"""The events of a run, from a seed: new, repeated, amended, withdrawn, conflicting, late, attested, invalid."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deploy.local.state import AGENCY
from schemas.topics import EVENT_TOPICS
from tests.support import events
from tests.support.kafka_log import Message
from tests.support.model import ZONE

WEEKS = ("2017-01-28", "2017-02-04", "2017-02-11", "2017-02-18")
_BEGINS = datetime(2017, 1, 28, tzinfo=ZONE)
_JURISDICTIONS = (("32003", "county"), ("36059", "county"), ("32031", "county"), ("32", "state"), ("2430", "tribal"))
_PARTITIONS = [(topic.name, number) for topic in EVENT_TOPICS for number in range(topic.partitions)]
_KNOWN = 5_000


@dataclass(frozen=True, slots=True)
class Telling:
    """One record to write. Invalid records are written directly to Kafka because ingest refuses them."""

    message: Message
    is_event: bool


class Story:
    """Iterate over `count` records, always the same for a seed."""

    def __init__(self, seed: int, count: int) -> None:
        self._random = random.Random(seed)  # reproducible, not for security
        self._left = count
        self._number = 0
        self._known: list[tuple[str, dict[str, Any]]] = []

    def __iter__(self) -> Iterator[Telling]:
        return self

    def __next__(self) -> Telling:
        if not self._left:
            raise StopIteration
        self._left -= 1
        roll = self._random.random()
        if roll < 0.03:
            return self._no_event()
        if roll < 0.04:
            return self._attested()
        if roll < 0.70 or not self._known:
            return self._new()
        return self._again(roll)

    def _new(self) -> Telling:
        self._number += 1
        kind = "declined" if self._random.random() < 0.25 else "issued"
        jurisdiction, operator = self._random.choice(_JURISDICTIONS)
        at = (_BEGINS + timedelta(minutes=self._random.randrange(7 * 24 * 60 * len(WEEKS)))).isoformat()
        data = events.issued(self._number, version=100, jurisdiction=jurisdiction, operator=operator, issued_at=at)
        if kind == "declined":
            data |= {"declined_at": at, "recorded_at": at, "reason": self._random.choice(["policy", "not-stated"])}
        if len(self._known) < _KNOWN:
            self._known.append((kind, data))
        else:
            self._known[self._random.randrange(_KNOWN)] = (kind, data)
        return self._record(kind, data)

    def _again(self, roll: float) -> Telling:
        """An event about an earlier detainer."""
        at = self._random.randrange(len(self._known))
        kind, data = self._known[at]
        jurisdiction, operator = self._random.choice(_JURISDICTIONS)
        moved = {"jurisdiction": jurisdiction, "operator": operator}
        if roll < 0.80:
            return self._record(kind, data)
        if roll < 0.87:
            data = data | moved | {"version": data["version"] + self._random.randint(1, 5)}
        elif roll < 0.91:
            reason = {"withdrawn": True, "withdrawn_reason": "entered-in-error"}
            data = data | reason | {"version": data["version"] + 1}
        elif roll < 0.95:
            return self._record(kind, data | moved)
        else:
            return self._record(kind, data | moved | {"version": data["version"] - self._random.randint(1, 60)})
        self._known[at] = (kind, data)
        return self._record(kind, data)

    def _record(self, kind: str, data: dict[str, Any]) -> Telling:
        document = events.envelope(kind, data, agency=AGENCY, id=f"event-{self._left}")
        value = events.encoded(document)
        return Telling(Message(f"detainer-{kind}", value, data["detainer_id"].encode(), headers=events.HEADERS), True)

    def _attested(self) -> Telling:
        """An attestation of an agency, not necessarily correct."""
        version, issued = self._random.randint(1, 50), self._random.randint(0, 9)
        data = events.attested(self._random.choice(WEEKS), version, issued=issued)
        return Telling(events.attesting(data, agency=AGENCY), True)

    def _no_event(self) -> Telling:
        topic, number = self._random.choice(_PARTITIONS)  # few per partition, or the breaker halts it
        return Telling(Message(topic, self._random.choice(events.NO_EVENTS), b"key", partition=number), False)
