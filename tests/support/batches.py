"""Records without Kafka, and the batches that a reader would build from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.acceptance import Refused, accept_any
from schemas.attestation import Attestation
from schemas.fact import Fact as Accepted
from schemas.instant import instant
from schemas.log import Partition
from schemas.week import ReportingCalendar, WeekIndex
from services.aggregator import decoding
from services.aggregator.decoding import Batch
from services.aggregator.spans import Span
from tests.support.kafka_log import Message
from tests.support.model import ZONE, Fact
from tests.support.positions import Connection

CALENDAR = ReportingCalendar(ZONE)
WEEKS = WeekIndex(CALENDAR)
OWNER = "one"


@dataclass(frozen=True, slots=True)
class Record:
    """The attributes of a Kafka record that the aggregator reads."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    timestamp: int = -1
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def at(self) -> Partition:
        """The partition of the record."""
        return Partition(self.topic, self.partition)


def logged(messages: Iterable[Message]) -> list[Record]:
    """The messages as records in the order written, with their offsets."""
    ends: Counter[Partition] = Counter()
    records = []
    for one in messages:
        to = one.target
        records.append(Record(to.topic, to.number, ends[to], one.key, one.value))
        ends[to] += 1
    return records


def batch(records: Sequence[Record], epoch: int = 1, start: int | None = None) -> Batch:
    """One batch of these records; each partition's span starts at its first record, or at `start`."""
    spans = []
    for partition in sorted({record.at for record in records}):
        mine = [record for record in records if record.at == partition]
        spans.append(Span(partition, epoch, mine[0].offset if start is None else start, mine[-1].offset + 1, mine))
    return decoding.decode(spans, WEEKS)


def accepted(messages: Iterable[Message]) -> list[Fact]:
    """The facts among these records, as plain dicts. A fact appears as often as it was sent."""
    found: list[Fact] = []
    for one in messages:
        try:
            fact = accept_any(one.value, one.topic)
        except Refused:
            continue
        found.append(plain(fact))
    return found


def plain(fact: Accepted | Attestation) -> Fact:
    """The fact's fields in the form of the model."""
    if isinstance(fact, Attestation):
        numbers = {name: getattr(fact, name) for name in fact.__struct_fields__}
        return {"kind": "attested", **numbers, "fingerprint": fact.fingerprint}
    members = {name: getattr(fact, name) for name in fact.__struct_fields__ if not name.endswith("_us")}
    instants = {f"{name}_at": getattr(fact, f"{name}_us") for name in ("issued", "declined", "recorded")}
    found = {name: None if us is None else instant(us) for name, us in instants.items()}
    return members | found | {"fingerprint": fact.fingerprint}


async def lease(connection: Connection, partitions: Iterable[Partition], owner: str = OWNER, epoch: int = 1) -> None:
    """Lease partitions to a worker."""
    await connection.executemany(
        "INSERT INTO partition_position (topic, partition, owner, epoch) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (topic, partition) DO UPDATE SET owner = EXCLUDED.owner, epoch = EXCLUDED.epoch",
        [(one.topic, one.number, owner, epoch) for one in partitions],
    )
