"""What becomes of an event at the door: a pure function of its bytes, the agency and its scope.

An event is refused here with a receipt, or handed on with the topic, key and partition it belongs to. Whether it is a
duplicate is the aggregator's to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas.acceptance import Refused
from schemas.acceptance_fast import accept_fast
from schemas.fact import Fact
from schemas.topics import EVENT_TOPICS, partition_of
from services.runtime.agencies import Agency

MAX_BODY_BYTES = 1_048_576
MAX_BATCH = 1_000
FRAMING_CODES = frozenset({"not-json", "not-utf8", "no-value"})
"""Refusals that say the body is no event at all: 400, not 422."""

_PARTITIONS = {topic.name: topic.partitions for topic in EVENT_TOPICS}


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event to be stored: the bytes as they came, and where they go."""

    line: int
    fact: Fact
    value: bytes
    event_id: str | None

    @property
    def topic(self) -> str:
        """The topic of the event's kind."""
        return f"detainer-{self.fact.kind.value}"

    @property
    def key(self) -> bytes:
        """The record's key: detainer_id."""
        return self.fact.detainer_id.encode()

    @property
    def partition(self) -> int:
        """The partition that the key belongs to."""
        return partition_of(self.key, _PARTITIONS[self.topic])


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the agency is told of one event. `line` counts from 1 in the order sent."""

    line: int
    id: str | None
    status: str
    code: str | None = None
    detail: str | None = None
    retryable: bool = False
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    kind: str = field(default="unknown", metadata={"shown": False})

    def as_json(self) -> dict[str, Any]:
        """The receipt's members, absent ones left out."""
        members = {
            "line": self.line,
            "id": self.id,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
        }
        return {name: value for name, value in members.items() if value is not None}


class NotABatchError(Exception):
    """The body is not a JSON array of events; the message says how it must be framed."""


def split(body: bytes) -> list[bytes]:
    """The elements of a JSON array, each as its own bytes; NotABatchError when it is none or has too many."""
    try:
        elements = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotABatchError("the body must be a JSON array of CloudEvents") from error
    if not elements:
        raise NotABatchError("the batch is empty")
    if len(elements) > MAX_BATCH:
        raise NotABatchError(f"a batch has at most {MAX_BATCH} events, this one has {len(elements)}")
    return [bytes(element) for element in elements]


def judge(line: int, value: bytes, agency: Agency) -> Accepted | Receipt:
    """Accept one event from `agency`, or say on a receipt why not."""
    event_id = _event_id(value)
    try:
        fact = accept_fast(value)
    except Refused as refused:
        detail = f"{refused.field}: {refused.detail}" if refused.field else refused.detail
        return Receipt(line, event_id, "rejected", refused.code, detail)
    if fact.agency != agency.name:
        detail = f"source: must be /agencies/{agency.name} with this key"
        return Receipt(line, event_id, "rejected", "source-not-allowed", detail, kind=fact.kind.value)
    if fact.kind not in agency.kinds:
        detail = f"type: {agency.name} may not send this kind"
        return Receipt(line, event_id, "rejected", "kind-not-allowed", detail, kind=fact.kind.value)
    if not agency.covers(fact.kind, fact.jurisdiction):
        detail = f"data.jurisdiction: is not in the scope of {agency.name}"
        return Receipt(line, event_id, "rejected", "jurisdiction-not-allowed", detail, kind=fact.kind.value)
    return Accepted(line, fact, value, event_id)


def stored(event: Accepted, offset: int) -> Receipt:
    """The receipt of an event that Kafka has acknowledged."""
    return Receipt(
        event.line,
        event.event_id,
        "accepted",
        topic=event.topic,
        partition=event.partition,
        offset=offset,
        kind=event.fact.kind.value,
    )


def unavailable(event: Accepted) -> Receipt:
    """The receipt of an event whose fate is not known: it may still be stored. Sending it again cannot count twice."""
    return Receipt(
        event.line,
        event.event_id,
        "unavailable",
        "not-acknowledged",
        "not acknowledged in time; send it again, it cannot count twice",
        retryable=True,
        kind=event.fact.kind.value,
    )


def summary(receipts: Sequence[Receipt]) -> dict[str, int]:
    """How many events were answered how."""
    counts = {"lines": len(receipts), "accepted": 0, "rejected": 0, "unavailable": 0}
    for receipt in receipts:
        counts[receipt.status] += 1
    return counts


class _Id(msgspec.Struct):
    id: str | None = None


_decode_id = msgspec.json.Decoder(_Id).decode


def _event_id(value: bytes) -> str | None:
    """The event's id for its receipt, where it can be read and may be echoed."""
    try:
        event_id = _decode_id(value).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event_id if event_id is not None and len(event_id) <= 128 and event_id.isprintable() else None
