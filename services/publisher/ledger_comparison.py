"""Compares records of the log, one by one, with the ledger and its history. Pure.

This code is independent of the code that counts: it has no batches, leases or SQL. Both share the acceptance rules and
the calendar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from schemas.acceptance_fast import accept_fast
from schemas.fact import Fact
from schemas.log import Partition, RecordAddress
from schemas.week import WeekIndex

INTERNAL_ERROR = "internal_error"
"""The aggregator's reason code for an accepted record that it failed to write."""

Identity = tuple[str, str, str]
"""Kind, agency, detainer_id."""


class Version(NamedTuple):
    """One fact in the database."""

    version: int
    fingerprint: bytes
    week: date
    jurisdiction: str
    withdrawn: bool
    in_ledger: bool


class Record(Protocol):
    """The fields of a Kafka record that are compared."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class DecodedRecord:
    """One record after the acceptance rules: its fact and the week in which it counts, or None if rejected."""

    address: RecordAddress
    fact: Fact | None
    week: date | None

    @property
    def identity(self) -> Identity:
        """The identity of the fact. The record must have one."""
        assert self.fact is not None
        return str(self.fact.kind), self.fact.agency, self.fact.detainer_id


def decode(records: Iterable[Record], partition: Partition, weeks: WeekIndex) -> list[DecodedRecord]:
    """Apply the acceptance rules to each record of a partition. A rejected or failing record has no fact."""
    found = []
    for record in records:
        address = RecordAddress(partition, record.offset)
        try:
            fact = accept_fast(record.value, partition.topic)
        except Exception:  # Refused, or an internal error; the aggregator rejects both
            found.append(DecodedRecord(address, None, None))
        else:
            found.append(DecodedRecord(address, fact, weeks.first_day(fact.counted_us)))
    return found


def versions(rows: Iterable[Mapping[str, object]]) -> dict[Identity, list[Version]]:
    """Rows of the ledger and its history, by identity."""
    found: dict[Identity, list[Version]] = defaultdict(list)
    for row in rows:
        identity = (str(row["kind"]), str(row["agency"]), str(row["detainer_id"]))
        found[identity].append(Version(*(row[name] for name in Version._fields)))  # type: ignore[arg-type]
    return found


def differences(
    decoded: Iterable[DecodedRecord], rejected: Mapping[int, str], known: Mapping[Identity, Sequence[Version]]
) -> list[str]:
    """One sentence for each record that differs from the database. No sentence quotes the content of a record.

    `rejected`: the offset and reason code of each reject in this part of the partition.
    """
    found = []
    for one in decoded:
        reason = rejected.get(one.address.offset)
        if one.fact is None:
            difference = None if reason else "is invalid, but is not in the table rejected"
        elif reason:
            difference = None if reason == INTERNAL_ERROR else f"was rejected as {reason}, but is valid"
        else:
            difference = _difference(one.fact, one.week, known.get(one.identity, ()))
        if difference:
            found.append(f"{one.address}: {difference}")
    return found


def _difference(fact: Fact, week: date | None, known: Sequence[Version]) -> str | None:
    mine = next((one for one in known if (one.version, one.fingerprint) == (fact.version, fact.fingerprint)), None)
    if mine is None:
        return "is not counted"
    if mine.week != week:
        return f"is counted in the week {mine.week}, but belongs to {week}"
    if (mine.jurisdiction, mine.withdrawn) != (fact.jurisdiction, fact.withdrawn):
        return "is stored with a different jurisdiction or withdrawal"
    if not max(known).in_ledger or sum(one.in_ledger for one in known) != 1:
        return "belongs to a detainer whose counted version is not the highest"
    return None
