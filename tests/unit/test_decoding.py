"""services.aggregator.decoding: the rows of a batch are a function of the set of its records."""

from __future__ import annotations

import hashlib
import random
from datetime import date
from itertools import pairwise
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fact import Fact
from schemas.log import Partition
from services.aggregator import decoding, spans
from services.aggregator.decoding import FactRecord
from services.aggregator.spans import Claim, Span
from tests.support.batches import WEEKS, Record
from tests.support.sessions import DECLINED_0, ISSUED_0, ISSUED_1, records
from tests.unit.sample_events import changed, encoded, event, fact

WEEK = date(2017, 1, 28)
IDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]


def placed(one: Fact, offset: int = 0) -> FactRecord:
    return FactRecord(one, one.fingerprint, WEEK, 0, offset)


def rank(one: Fact) -> tuple[int, bytes]:
    return one.version, one.fingerprint


def content(found: list[FactRecord]) -> set[tuple[object, ...]]:
    assert all(one.rank == rank(one.fact) for one in found)
    return {(*one.fact.identity, *one.rank) for one in found}


def span(partition: Partition, epoch: int, start: int, some: list[Record]) -> Span:
    return Span(partition, epoch, start, some[-1].offset + 1, some)


facts = st.builds(
    lambda kind, which, version, form: fact(kind, detainer_id=IDS[which], version=version, form=form),
    st.sampled_from(["issued", "declined"]),
    st.integers(0, 2),
    st.integers(1, 3),
    st.sampled_from(["I-247", "I-247A", "I-247D"]),
)


@given(st.lists(facts, max_size=20))
def test_the_winner_of_an_identity_has_the_highest_version_and_fingerprint(found: list[Fact]) -> None:
    winners, others = decoding.reduce([placed(one, offset) for offset, one in enumerate(found)])
    assert len({one.fact.identity for one in winners}) == len(winners)
    assert content(winners) == {
        (*identity, *max(rank(one) for one in found if one.identity == identity))
        for identity in {one.identity for one in found}
    }
    assert content(winners) | content(others) == {(*one.identity, *rank(one)) for one in found}
    assert not content(winners) & content(others)


@given(st.lists(facts, min_size=1, max_size=15), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(found: list[Fact], rng: random.Random) -> None:
    again = [*found, *rng.choices(found, k=5)]
    rng.shuffle(again)
    first, second = (decoding.reduce([placed(one) for one in some]) for some in (found, again))
    assert [content(part) for part in first] == [content(part) for part in second]


@given(st.lists(facts, min_size=1, max_size=15), st.lists(st.integers(0, 15), max_size=4))
def test_the_division_into_batches_does_not_matter(found: list[Fact], cuts: list[int]) -> None:
    whole = decoding.reduce([placed(one) for one in found])[0]
    edges = [0, *sorted(cuts), len(found)]
    standing: list[FactRecord] = []
    for start, end in pairwise(edges):
        standing = decoding.reduce([*standing, *(placed(one) for one in found[start:end])])[0]
    assert content(standing) == content(whole)


def test_a_duplicate_keeps_the_address_of_its_first_record() -> None:
    winners, others = decoding.reduce([placed(fact(), 4), placed(fact(), 9)])
    assert [one.offset for one in winners] == [4]
    assert others == []


def test_issued_and_declined_of_one_detainer_are_two_identities() -> None:
    winners, _ = decoding.reduce(
        [placed(fact("issued", detainer_id=IDS[0])), placed(fact("declined", detainer_id=IDS[0]))]
    )
    assert len(winners) == 2


def test_one_detainer_of_two_agencies_is_two_identities() -> None:
    values = [encoded(changed(event(), "source", f"/agencies/{name}")) for name in ("one", "two")]
    found, _ = decoding.accept_detainers(
        [Record("detainer-issued", 0, n, None, value) for n, value in enumerate(values)], WEEKS
    )
    assert len(decoding.reduce(found)[0]) == 2


def test_each_kind_counts_in_the_week_of_its_own_instant() -> None:
    declined = encoded(event("declined", recorded_at="2017-02-04T05:00:00Z"))
    issued = encoded(event("issued", issued_at="2017-02-04T04:59:59.999999Z"))
    found, rejects = decoding.accept_detainers(
        [Record("detainer-declined", 0, 0, None, declined), Record("detainer-issued", 0, 0, None, issued)], WEEKS
    )
    assert [one.week for one in found] == [date(2017, 2, 4), WEEK]
    assert rejects == []


def test_an_invalid_record_is_rejected_with_address_digest_and_bytes() -> None:
    bad = encoded(event(jurisdiction="32999"))
    found, (reject,) = decoding.accept_detainers([Record("detainer-issued", 3, 17, b"a key", bad)], WEEKS)
    assert found == []
    assert str(reject.address) == "detainer-issued/3/17"
    assert (reject.reason, reject.field) == ("unknown-jurisdiction", "data.jurisdiction")
    assert reject.sha256 == hashlib.sha256(bad).digest()
    assert reject.raw == bad


def test_bytes_that_may_contain_personal_data_are_not_stored() -> None:
    _, (reject,) = decoding.accept_detainers([Record("detainer-issued", 0, 0, None, encoded(event(name="Doe")))], WEEKS)
    assert (reject.reason, reject.raw) == ("unknown-field", None)


def test_the_bytes_of_a_record_that_makes_acceptance_fail_are_not_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(_value: bytes | None, _topic: str) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(decoding, "accept_fast", failing)
    _, (reject,) = decoding.accept_detainers([Record("detainer-issued", 0, 0, None, encoded(event()))], WEEKS)
    assert (reject.reason, reject.raw) == ("internal_error", None)


def test_the_bytes_of_an_accepted_record_that_cannot_be_written_are_stored() -> None:
    record = Record("detainer-issued", 0, 5, None, encoded(event()))
    batch = decoding.internal_error(Span(Partition("detainer-issued", 0), 1, 5, 6, [record]), ZeroDivisionError())
    assert [(one.reason, one.raw) for one in batch.rejects] == [("internal_error", record.value)]


def test_a_record_in_the_other_kinds_topic_is_rejected() -> None:
    _, (reject,) = decoding.accept_detainers([Record("detainer-declined", 0, 0, None, encoded(event("issued")))], WEEKS)
    assert reject.reason == "wrong-topic"


def test_a_null_value_has_the_digest_of_no_bytes() -> None:
    assert spans.digest(None) == hashlib.sha256(b"").digest()


def test_a_batch_claims_each_span_through_its_last_record() -> None:
    good = encoded(event("declined"))
    there = [Record("detainer-declined", 0, 8, None, good), Record("detainer-declined", 0, 9, None, b"bad")]
    found = decoding.decode(
        [
            span(ISSUED_1, 5, 0, records(ISSUED_1, 0)),
            span(DECLINED_0, 2, 6, there),
            span(ISSUED_0, 1, 40, records(ISSUED_0, 41, 44)),
        ],
        WEEKS,
    )
    assert found.claims == (
        Claim(DECLINED_0, 2, 6, 10, 2, 1, 9, spans.digest(b"bad")),
        Claim(ISSUED_0, 1, 40, 45, 2, 2, 44, spans.digest(b"{}")),
        Claim(ISSUED_1, 5, 0, 1, 1, 1, 0, spans.digest(b"{}")),
    )
    assert [one.offset for one in found.winners] == [8]
    assert len(found.rejects) == 4


def test_every_record_is_a_winner_another_fact_a_duplicate_or_a_reject() -> None:
    values = [encoded(event(version=version)) for version in (1, 3, 2, 3)] + [b"bad"]
    some = [Record("detainer-issued", 0, offset, None, value) for offset, value in enumerate(values)]
    found = decoding.decode([span(ISSUED_0, 1, 0, some)], WEEKS)
    assert ([one.offset for one in found.winners], [one.offset for one in found.others]) == ([1], [0, 2])
    assert [one.address.offset for one in found.rejects] == [4]
    assert found.claims[0].records == 5


def test_a_span_without_records_claims_its_offsets_alone() -> None:
    found = decoding.decode([Span(ISSUED_0, 3, 5, 9, ())], WEEKS)
    assert found == decoding.Batch((), (), (), (Claim(ISSUED_0, 3, 5, 9),))


@pytest.mark.parametrize("opaque", [{"tracestate": "v=John.Smith"}, {"johnsmith": None}])
def test_opaque_text_of_a_failing_record_is_not_stored(opaque: dict[str, object]) -> None:
    plain = encoded(event())
    for value, kept in ((plain, plain), (encoded(event() | opaque), None), (b"{}", None), (None, None)):
        record = Record(ISSUED_0.topic, 0, 1, None, value)
        (reject,) = decoding.internal_error(span(ISSUED_0, 1, 1, [record]), RuntimeError()).rejects
        assert reject.raw == kept


def test_a_failing_record_is_rejected_as_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Fact:
        raise RecursionError("planted")

    monkeypatch.setattr(decoding, "accept_fast", fail)
    found, (reject,) = decoding.accept_detainers(records(ISSUED_0, 4), WEEKS)
    assert found == []
    assert (reject.reason, reject.address.offset, reject.field) == ("internal_error", 4, None)
    assert reject.detail == "internal error while processing the record: RecursionError"


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(1, 6))
def test_parts_contain_the_same_records_in_order_up_to_the_limit(sizes: list[int], limit: int) -> None:
    """The parts of each partition, joined, equal the span: no record is missing or repeated."""
    whole = [
        Span(partition := Partition("detainer-issued", n), 1, 10, 17, records(partition, *range(10, 10 + size)))
        for n, size in enumerate(sizes)
    ]
    parts = list(spans.split(whole, limit))
    assert all(spans.count_records(part) <= limit for part in parts)
    for one in whole:
        mine = [piece for part in parts for piece in part if piece.partition == one.partition]
        assert [record for piece in mine for record in piece.records] == list(one.records)
        assert [mine[0].start, *(piece.end for piece in mine)] == [*(piece.start for piece in mine), one.end]
