"""schemas.attestation: an agency's own count of a week."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from schemas.acceptance import Refused, accept, accept_any
from schemas.acceptance_fast import accept_any_fast
from schemas.attestation import Attestation
from schemas.detainer import Kind
from schemas.fact import Fact
from schemas.instant import microseconds
from schemas.log import Partition
from schemas.topics import WEEK_ATTESTED
from schemas.week import WeekIndex
from services.aggregator import decoding
from services.aggregator.decoding import AttestationRecord
from services.aggregator.spans import Span
from services.ingest import intake
from services.ingest.intake import Accepted, Judged, Rejected
from tests.support import events
from tests.support.batches import Record
from tests.unit.sample_events import Document, changed, encoded, event
from tests.unit.sample_reports import CALENDAR, listed

WEEKS = WeekIndex(CALENDAR)
(BOTH,) = listed(("ice-las-vegas", "issued declined", "32*")).listed
(ISSUED,) = listed(("ice-las-vegas", "issued", "32*")).listed
SUNDAY = datetime(2017, 2, 5, tzinfo=UTC)


def document(week: str = "2017-01-28", version: int = 1, **counts: int) -> Document:
    changes = {"type": "week-attested", "subject": week, "dataschema": "/schemas/week-attested/1"}
    return events.envelope("issued", events.attested(week, version, **counts), **changes)


def read(attestation: Document) -> Attestation:
    found = accept_any(encoded(attestation), WEEK_ATTESTED)
    assert isinstance(found, Attestation)
    return found


def test_an_attestation_is_a_fact_with_a_version() -> None:
    found = read(document(version=7, issued=118, declined=0))
    assert (found.agency, found.week, found.version) == ("ice-las-vegas", date(2017, 1, 28), 7)
    assert (found.issued, found.declined, found.kinds) == (118, 0, {Kind.ISSUED, Kind.DECLINED})
    assert read(document(issued=1)).kinds == {Kind.ISSUED}
    assert read(document()).kinds == set(), "a version without counts withdraws the previous one"


def test_the_fingerprint_depends_on_the_counts_and_not_on_the_envelope() -> None:
    attestation = document(issued=1)
    again = changed(changed(attestation, "id", "retry"), "time", "2031-01-01T00:00:00Z")
    assert read(again).fingerprint == read(attestation).fingerprint
    others = [document(issued=2), document(declined=1), document(version=2, issued=1), document(), document(issued=0)]
    assert len({read(one).fingerprint for one in [attestation, *others]}) == 6
    assert read(document("2017-02-04", issued=1)).fingerprint != read(attestation).fingerprint


@pytest.mark.parametrize(
    ("path", "value", "code", "field"),
    [
        ("subject", "2017-02-04", "subject-mismatch", "subject"),
        ("data.week_start", "2017-1-28", "bad-format", "data.week_start"),
        ("data.week_start", "2017-02-29", "bad-timestamp", "data.week_start"),
        ("data.week_start", "1899-12-30", "bad-timestamp", "data.week_start"),
        ("data.week_start", "2200-01-04", "bad-timestamp", "data.week_start"),
        ("data.version", 0, "out-of-range", "data.version"),
        ("data.counts.issued", -1, "out-of-range", "data.counts.issued"),
        ("data.counts.issued", 2**31, "out-of-range", "data.counts.issued"),
        ("data.counts.issued", "1", "wrong-type", "data.counts.issued"),
        ("data.counts.issued", True, "wrong-type", "data.counts.issued"),
        ("data.counts.lifted", 1, "unknown-field", "data.counts.lifted"),
        ("data.officer", "x", "unknown-field", "data.officer"),
        ("type", "detainer-issued", "wrong-topic", "type"),
    ],
)
def test_an_invalid_attestation_is_refused_with_a_code(path: str, value: object, code: str, field: str) -> None:
    with pytest.raises(Refused) as refused:
        read(changed(document(issued=1), path, value))
    assert (refused.value.code, refused.value.field) == (code, field)


def test_accept_any_reads_attestations_and_accept_refuses_them() -> None:
    assert isinstance(accept_any_fast(encoded(document(issued=1))), Attestation)
    assert isinstance(accept_any_fast(encoded(event())), Fact)
    for topic in (None, "detainer-issued", WEEK_ATTESTED):
        with pytest.raises(Refused) as refused:
            accept(encoded(document(issued=1)), topic)
        assert refused.value.code == "wrong-topic"


def judged(attestation: Document, agency: Any = BOTH, now: datetime = SUNDAY) -> Judged:
    return intake.judge(1, encoded(attestation), agency, microseconds(now), CALENDAR)


def test_ingest_stores_an_attestation_in_its_topic_by_its_week() -> None:
    found = judged(document(issued=1))
    assert isinstance(found, Accepted)
    assert (found.partition, found.key) == (Partition(WEEK_ATTESTED, 0), b"2017-01-28")


def _code(found: Judged) -> str | None:
    assert isinstance(found, Rejected)
    return found.receipt.code


def test_ingest_accepts_only_past_weeks_and_kinds_of_the_agency() -> None:
    assert _code(judged(document("2017-01-27", issued=1))) == "not-a-week"
    assert _code(judged(document(issued=1), now=datetime(2017, 2, 4, 3, tzinfo=UTC))) == "in-the-future"
    assert isinstance(judged(document(issued=1), now=datetime(2017, 2, 4, 4, tzinfo=UTC)), Accepted), "an hour of skew"
    assert _code(judged(document("1999-12-18", issued=1))) == "before-2000", "no fact can be in it"
    assert isinstance(judged(document("1999-12-25", issued=1)), Accepted)
    assert _code(judged(document(declined=1), ISSUED)) == "kind-not-allowed"
    assert isinstance(judged(document(issued=1), ISSUED), Accepted)
    assert _code(judged(changed(document(issued=1), "source", "/agencies/another"))) == "source-not-allowed"


def test_the_aggregator_reads_attestations_and_rejects_invalid_weeks() -> None:
    documents = [document(issued=1), document("2017-01-27"), event()]
    records = [Record(WEEK_ATTESTED, 0, offset, None, encoded(one)) for offset, one in enumerate(documents)]
    detainers = [Record("detainer-issued", 3, 0, None, encoded(event()))]
    spans = [
        Span(Partition("detainer-issued", 3), 1, 0, 1, detainers),
        Span(Partition(WEEK_ATTESTED, 0), 1, 0, 3, records),
    ]
    batch = decoding.decode(spans, WEEKS)
    assert batch.attestations == (AttestationRecord(read(document(issued=1)), 0, 0),)
    assert [(one.address.offset, one.reason) for one in batch.rejects] == [(1, "not-a-week"), (2, "wrong-topic")]
    assert len(batch.winners) == 1
    assert [(claim.records, claim.rejected) for claim in batch.claims] == [(1, 0), (3, 2)]
