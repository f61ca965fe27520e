"""services.aggregator.tally: what a batch writes is a function of the set of its records."""

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
from services.aggregator import spans, tally
from services.aggregator.leases import Partition
from services.aggregator.spans import Claim, Span
from services.aggregator.tally import Placed
from tests.support.batches import WEEKS, Record
from tests.support.sessions import DECLINED_0, ISSUED_0, ISSUED_1, records
from tests.unit.sample_events import changed, encoded, event, fact, quick

WEEK = date(2017, 1, 28)
IDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]


def placed(one: Fact, offset: int = 0) -> Placed:
    return Placed(one, one.fingerprint, WEEK, 0, offset)


def rank(one: Fact) -> tuple[int, bytes]:
    return one.version, one.fingerprint


def content(found: list[Placed]) -> set[tuple[object, ...]]:
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
@quick
def test_the_winner_of_an_identity_has_the_highest_version_and_fingerprint(found: list[Fact]) -> None:
    winners, others = tally.reduce([placed(one, offset) for offset, one in enumerate(found)])
    assert len({one.fact.identity for one in winners}) == len(winners)
    assert content(winners) == {
        (*identity, *max(rank(one) for one in found if one.identity == identity))
        for identity in {one.identity for one in found}
    }
    assert content(winners) | content(others) == {(*one.identity, *rank(one)) for one in found}
    assert not content(winners) & content(others)


@given(st.lists(facts, min_size=1, max_size=15), st.randoms(use_true_random=False))
@quick
def test_order_and_repetition_do_not_matter(found: list[Fact], rng: random.Random) -> None:
    again = [*found, *rng.choices(found, k=5)]
    rng.shuffle(again)
    first, second = (tally.reduce([placed(one) for one in some]) for some in (found, again))
    assert [content(part) for part in first] == [content(part) for part in second]


@given(st.lists(facts, min_size=1, max_size=15), st.lists(st.integers(0, 15), max_size=4))
@quick
def test_the_cut_of_batches_does_not_matter(found: list[Fact], cuts: list[int]) -> None:
    whole = tally.reduce([placed(one) for one in found])[0]
    edges = [0, *sorted(cuts), len(found)]
    standing: list[Placed] = []
    for start, end in pairwise(edges):
        standing = tally.reduce([*standing, *(placed(one) for one in found[start:end])])[0]
    assert content(standing) == content(whole)


def test_a_fact_that_came_twice_is_kept_as_it_first_came() -> None:
    winners, others = tally.reduce([placed(fact(), 4), placed(fact(), 9)])
    assert [one.offset for one in winners] == [4]
    assert others == []


def test_issued_and_declined_of_one_detainer_are_two_identities() -> None:
    winners, _ = tally.reduce(
        [placed(fact("issued", detainer_id=IDS[0])), placed(fact("declined", detainer_id=IDS[0]))]
    )
    assert len(winners) == 2


def test_one_detainer_of_two_agencies_is_two_identities() -> None:
    values = [encoded(changed(event(), "source", f"/agencies/{name}")) for name in ("one", "two")]
    found, _ = tally.read([Record("detainer-issued", 0, n, None, value) for n, value in enumerate(values)], WEEKS)
    assert len(tally.reduce(found)[0]) == 2


def test_each_kind_counts_in_the_week_of_its_own_instant() -> None:
    declined = encoded(event("declined", recorded_at="2017-02-04T05:00:00Z"))
    issued = encoded(event("issued", issued_at="2017-02-04T04:59:59.999999Z"))
    found, rejects = tally.read(
        [Record("detainer-declined", 0, 0, None, declined), Record("detainer-issued", 0, 0, None, issued)], WEEKS
    )
    assert [one.week for one in found] == [date(2017, 2, 4), WEEK]
    assert rejects == []


def test_what_is_no_event_is_rejected_with_its_place_digest_and_bytes() -> None:
    bad = encoded(event(jurisdiction="32999"))
    found, (reject,) = tally.read([Record("detainer-issued", 3, 17, b"a key", bad)], WEEKS)
    assert found == []
    assert (reject.partition.number, reject.offset) == (3, 17)
    assert (reject.reason, reject.field) == ("unknown-jurisdiction", "data.jurisdiction")
    assert reject.sha256 == hashlib.sha256(bad).digest()
    assert reject.raw == bad


def test_bytes_that_may_hold_a_persons_data_are_not_kept() -> None:
    _, (reject,) = tally.read([Record("detainer-issued", 0, 0, None, encoded(event(name="Doe")))], WEEKS)
    assert (reject.reason, reject.raw) == ("unknown-field", None)


def test_a_record_that_makes_acceptance_fail_is_not_kept_for_nobody_knows_what_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(_value: bytes | None, _topic: str) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(tally, "accept_fast", failing)
    _, (reject,) = tally.read([Record("detainer-issued", 0, 0, None, encoded(event()))], WEEKS)
    assert (reject.reason, reject.raw) == ("internal_error", None)


def test_an_accepted_record_that_cannot_be_written_is_kept() -> None:
    record = Record("detainer-issued", 0, 5, None, encoded(event()))
    batch = tally.internal_error(Span(Partition("detainer-issued", 0), 1, 5, 6, [record]), ZeroDivisionError())
    assert [(one.reason, one.raw) for one in batch.rejects] == [("internal_error", record.value)]


def test_a_record_in_the_other_kinds_topic_is_rejected() -> None:
    _, (reject,) = tally.read([Record("detainer-declined", 0, 0, None, encoded(event("issued")))], WEEKS)
    assert reject.reason == "wrong-topic"


def test_a_null_value_has_the_digest_of_no_bytes() -> None:
    assert spans.digest(None) == hashlib.sha256(b"").digest()


def test_a_batch_claims_each_span_from_its_start_to_behind_its_last_record() -> None:
    good = encoded(event("declined"))
    there = [Record("detainer-declined", 0, 8, None, good), Record("detainer-declined", 0, 9, None, b"bad")]
    found = tally.batch(
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


def test_every_record_of_a_batch_is_a_winner_another_fact_a_repetition_or_a_reject() -> None:
    values = [encoded(event(version=version)) for version in (1, 3, 2, 3)] + [b"bad"]
    some = [Record("detainer-issued", 0, offset, None, value) for offset, value in enumerate(values)]
    found = tally.batch([span(ISSUED_0, 1, 0, some)], WEEKS)
    assert ([one.offset for one in found.winners], [one.offset for one in found.others]) == ([1], [0, 2])
    assert [one.offset for one in found.rejects] == [4]
    assert found.claims[0].records == 5


def test_a_span_without_records_claims_its_offsets_alone() -> None:
    found = tally.batch([Span(ISSUED_0, 3, 5, 9, ())], WEEKS)
    assert found == tally.Batch((), (), (), (Claim(ISSUED_0, 3, 5, 9),))


def test_a_record_that_makes_the_program_fail_is_rejected_as_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Fact:
        raise RecursionError("planted")

    monkeypatch.setattr(tally, "accept_fast", fail)
    found, (reject,) = tally.read(records(ISSUED_0, 4), WEEKS)
    assert found == []
    assert (reject.reason, reject.offset, reject.field) == ("internal_error", 4, None)
    assert reject.detail == "this program failed on the record: RecursionError"


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(1, 6))
@quick
def test_parts_hold_the_same_records_in_order_and_no_more_than_the_limit(sizes: list[int], limit: int) -> None:
    """Laid end to end, the parts of each partition are the span: nothing left out, nothing twice."""
    whole = [
        Span(partition := Partition("detainer-issued", n), 1, 10, 17, records(partition, *range(10, 10 + size)))
        for n, size in enumerate(sizes)
    ]
    parts = list(spans.parts(whole, limit))
    assert all(spans.count(part) <= limit for part in parts)
    for one in whole:
        mine = [piece for part in parts for piece in part if piece.partition == one.partition]
        assert [record for piece in mine for record in piece.records] == list(one.records)
        assert [mine[0].start, *(piece.end for piece in mine)] == [*(piece.start for piece in mine), one.end]
