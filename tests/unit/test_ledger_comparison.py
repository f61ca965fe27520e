"""services.publisher.ledger_comparison, verification.start_offsets: differences between log and ledger are reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from schemas.acceptance import accept
from schemas.log import Partition, Vector
from schemas.week import WeekIndex
from services.publisher import ledger_comparison
from services.publisher.ledger_comparison import Version
from services.publisher.verification import start_offsets
from tests.unit.sample_events import encoded, event
from tests.unit.sample_reports import CALENDAR

WEEKS = WeekIndex(CALENDAR)
VALUE = encoded(event("issued"))
FACT = accept(VALUE)
IDENTITY = (str(FACT.kind), FACT.agency, FACT.detainer_id)
WEEK = WEEKS.first_day(FACT.counted_us)
RIGHT = Version(FACT.version, FACT.fingerprint, WEEK, FACT.jurisdiction, False, True)


@dataclass(frozen=True)
class LogRecord:
    """A record of the log."""

    value: bytes | None
    offset: int = 7


def found(value: bytes | None, *known: Version, rejected: dict[int, str] | None = None) -> list[str]:
    decoded = ledger_comparison.decode([LogRecord(value)], Partition("detainer-issued", 3), WEEKS)
    return ledger_comparison.differences(decoded, rejected or {}, {IDENTITY: known})


def test_a_correctly_counted_record_has_no_difference() -> None:
    assert found(VALUE, RIGHT) == []
    newer = RIGHT._replace(version=FACT.version + 1, fingerprint=b"x", week=WEEK + timedelta(days=7))
    assert found(VALUE, RIGHT._replace(in_ledger=False), newer) == [], "a later version counts"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], "is not counted"),
        ([RIGHT._replace(fingerprint=b"x")], "is not counted"),
        ([RIGHT._replace(week=date(2017, 1, 21))], f"is counted in the week 2017-01-21, but belongs to {WEEK}"),
        ([RIGHT._replace(jurisdiction="32031")], "is stored with a different jurisdiction or withdrawal"),
        ([RIGHT._replace(withdrawn=True)], "is stored with a different jurisdiction or withdrawal"),
        ([RIGHT._replace(in_ledger=False)], "counted version is not the highest"),
        ([RIGHT, RIGHT._replace(version=FACT.version + 1, in_ledger=False)], "counted version is not the highest"),
        ([RIGHT, RIGHT._replace(version=FACT.version + 1)], "counted version is not the highest"),
    ],
)
def test_a_difference_is_reported_with_the_address_of_the_record(known: list[Version], expected: str) -> None:
    (sentence,) = found(VALUE, *known)
    assert sentence.startswith("detainer-issued/3/7: ")
    assert expected in sentence
    assert FACT.detainer_id not in sentence


def test_a_record_is_rejected_exactly_when_the_rules_refuse_it() -> None:
    assert found(b"{}", rejected={7: "missing-field"}) == []
    assert found(b"{}") == ["detainer-issued/3/7: is invalid, but is not in the table rejected"]
    assert found(None) == ["detainer-issued/3/7: is invalid, but is not in the table rejected"]
    assert found(VALUE, rejected={7: "internal_error"}) == []
    assert found(VALUE, rejected={7: "bad-format"}) == ["detainer-issued/3/7: was rejected as bad-format, but is valid"]


def test_rows_of_the_database_are_read_by_identity() -> None:
    row: dict[str, Any] = RIGHT._asdict() | dict(zip(("kind", "agency", "detainer_id"), IDENTITY, strict=True))
    assert ledger_comparison.versions([row, row]) == {IDENTITY: [RIGHT, RIGHT]}


ISSUED_0, ISSUED_1, DECLINED_0 = (
    Partition("detainer-issued", 0),
    Partition("detainer-issued", 1),
    Partition("detainer-declined", 0),
)


def test_the_range_starts_at_the_vector_of_the_report_before() -> None:
    ends = Vector({ISSUED_0: 10, ISSUED_1: 5, DECLINED_0: 4, Partition("week-attested", 0): 9})
    assert start_offsets(Vector(), ends, 100) == ({ISSUED_0: 0, ISSUED_1: 0, DECLINED_0: 0}, False)
    before = Vector({ISSUED_0: 7, ISSUED_1: 5, DECLINED_0: -3})
    assert start_offsets(before, ends, 100) == ({ISSUED_0: 7, DECLINED_0: 0}, False)
    assert start_offsets(ends, ends, 100) == ({}, False)


def test_a_range_that_is_too_long_is_sampled_from_the_newest_records() -> None:
    ends = Vector({ISSUED_0: 1_000_000, ISSUED_1: 30})
    assert start_offsets(Vector(), ends, 100) == ({ISSUED_0: 999_950, ISSUED_1: 0}, True)
