"""services.publisher.restating: the changes between two vectors; the causes sum to the difference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.detainer import Kind
from schemas.log import Partition, Vector
from schemas.report import JurisdictionRow, OffenseRow, TableRow, Tables
from services.publisher import restating
from services.publisher.restating import CAUSES, Cell, Version

WEEK = date(2017, 1, 28)
NEXT = WEEK + timedelta(days=7)
CLARK, NASSAU = "32003", "36059"
BEFORE = Vector.from_json({"detainer-issued": {"0": 10, "1": 10}, "detainer-declined": {"0": 10}})


def version(
    number: int = 1,
    *,
    offset: int = 0,
    kind: str = "declined",
    week: date = WEEK,
    jurisdiction: str = CLARK,
    withdrawn: bool = False,
    fingerprint: bytes = b"a",
    redriven: bool = False,
    partition: int = 0,
) -> Version:
    log_partition = Partition(Kind(kind).topic, partition)
    return Version(kind, number, fingerprint, week, jurisdiction, withdrawn, log_partition, offset, redriven)


OLD = version()


@pytest.mark.parametrize(
    ("history", "changed"),
    [
        ([OLD], {}),
        ([version(offset=10)], {CLARK: {"late": 1}}),
        ([version(offset=9)], {}),
        ([version(offset=10, partition=7)], {CLARK: {"late": 1}}),
        ([version(offset=10, redriven=True)], {CLARK: {"redriven": 1}}),
        ([version(offset=10, withdrawn=True)], {}),
        ([version(offset=10, week=NEXT)], {}),
        ([OLD, version(2, offset=10, withdrawn=True)], {CLARK: {"withdrawn": -1}}),
        ([OLD, version(2, offset=10, jurisdiction=NASSAU)], {CLARK: {"reassigned": -1}, NASSAU: {"reassigned": 1}}),
        ([OLD, version(2, offset=10, week=NEXT)], {CLARK: {"reassigned": -1}}),
        ([version(week=NEXT), version(2, offset=10)], {CLARK: {"reassigned": 1}}),
        ([version(withdrawn=True), version(2, offset=10)], {CLARK: {"amended": 1}}),
        ([OLD, version(2, offset=10)], {}),
        ([OLD, version(2, offset=10, withdrawn=True), version(3, offset=11)], {}),
        ([version(2), version(1, offset=10, jurisdiction=NASSAU)], {}),
        ([OLD, version(offset=10, fingerprint=b"b", week=NEXT)], {CLARK: {"reassigned": -1}}),
        ([version(fingerprint=b"b"), version(offset=10, jurisdiction=NASSAU)], {}),
        ([OLD, version(2, offset=10, withdrawn=True, redriven=True)], {CLARK: {"redriven": -1}}),
    ],
)  # fmt: skip
def test_each_cause_by_example(history: list[Version], changed: dict[str, dict[str, int]]) -> None:
    for versions in (history, history[::-1]):
        causes = restating.causes(WEEK, [versions], BEFORE)
        assert causes == {(jurisdiction, "declined"): counts for jurisdiction, counts in changed.items()}


@pytest.mark.parametrize(
    ("history", "late"),
    [
        ([OLD], 0),
        ([version(offset=10)], 1),
        ([version(offset=10, redriven=True)], 1),
        ([version(offset=10), version(2, offset=11, jurisdiction=NASSAU)], 1),
        ([version(offset=10), version(2, offset=11, withdrawn=True)], 0),
        ([version(offset=10), version(2, offset=11, week=NEXT)], 0),
        ([version(week=NEXT), version(2, offset=10)], 0),
        ([OLD, version(2, offset=10)], 0),
    ],
)
def test_late_events_count_and_are_not_in_the_first_report(history: list[Version], late: int) -> None:
    assert restating.late(WEEK, [history, history[::-1], [OLD]], BEFORE) == 2 * late


@st.composite
def histories(draw: st.DrawFn) -> list[list[Version]]:
    """Identities with a few versions each. Every fact has its own offset."""
    offsets = iter(draw(st.permutations(range(20))))
    identities = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["issued", "declined"]))
        rank = st.tuples(st.integers(1, 3), st.sampled_from([b"a", b"b"]))
        identities.append(
            [
                version(
                    number,
                    fingerprint=fingerprint,
                    kind=kind,
                    offset=next(offsets),
                    redriven=draw(st.integers(0, 4)) == 0,
                    jurisdiction=draw(st.sampled_from([CLARK, NASSAU])),
                    week=draw(st.sampled_from([WEEK, WEEK, NEXT])),
                    withdrawn=draw(st.integers(0, 2)) == 0,
                )
                for number, fingerprint in draw(st.lists(rank, min_size=1, max_size=3, unique=True))
            ]
        )
    return identities


def count(identities: Iterable[Sequence[Version]], below: int) -> Counter[Cell]:
    """The counters of the facts below an offset, counted independently of the tested code."""
    cells: Counter[Cell] = Counter()
    for versions in identities:
        known = [one for one in versions if one.offset < below]
        if known:
            top = max(known, key=lambda one: (one.version, one.fingerprint))
            if top.week == WEEK and not top.withdrawn:
                cells[top.jurisdiction, top.kind] += 1
    return cells


def rows(cells: Counter[Cell]) -> list[JurisdictionRow]:
    by_jurisdiction: dict[str, dict[str, int]] = defaultdict(dict)
    for (jurisdiction, kind), n in cells.items():
        by_jurisdiction[jurisdiction][kind] = n
    return [
        JurisdictionRow(
            geoid=jurisdiction, name="", state="", issued=kinds.get("issued"), declined=kinds.get("declined")
        )
        for jurisdiction, kinds in by_jurisdiction.items()
    ]


@given(histories(), st.integers(0, 20), st.integers(0, 20))
def test_the_causes_of_each_cell_sum_to_its_difference(identities: list[list[Version]], one: int, other: int) -> None:
    before, now = sorted((one, other))
    old, new = count(identities, before), count(identities, now)
    seen = [[fact for fact in versions if fact.offset < now] for versions in identities]
    vector = Vector({Partition(topic, 0): before for topic in ("detainer-issued", "detainer-declined")})
    causes = restating.causes(WEEK, [versions for versions in seen if versions], vector)
    for cell in old.keys() | new.keys() | causes.keys():
        assert sum(causes.get(cell, Counter()).values()) == new[cell] - old[cell], cell
    listed = restating.changes(rows(old), rows(new), causes)
    assert restating.unexplained(listed) == []
    assert {(change.geoid, change.kind) for change in listed} == {
        cell for cell in old.keys() | new.keys() if old[cell] != new[cell]
    }
    assert all(set(change.causes) <= set(CAUSES) for change in listed)
    if before == now:
        assert not causes
        assert listed == []


def jurisdiction(geoid: str, issued: int | None, declined: int | None) -> JurisdictionRow:
    return JurisdictionRow(geoid=geoid, name="", state="", issued=issued, declined=declined)


def test_equal_reports_have_no_changes() -> None:
    same = [jurisdiction(CLARK, 5, None), jurisdiction(NASSAU, 0, 2)]
    assert restating.changes(same, same[::-1], {}) == []


def test_a_change_from_unknown_to_zero_needs_no_cause() -> None:
    listed = restating.changes([jurisdiction(CLARK, 5, None)], [jurisdiction(CLARK, 5, 0)], {})
    assert [(one.geoid, one.kind, one.old, one.new, one.causes) for one in listed] == [(CLARK, "declined", None, 0, {})]
    assert restating.unexplained(listed) == []


def test_a_row_that_appears_or_disappears_has_only_its_figure() -> None:
    causes = {(NASSAU, "declined"): {"late": 1}, (CLARK, "issued"): {"withdrawn": -5}}
    listed = restating.changes([jurisdiction(CLARK, 5, 0)], [jurisdiction(NASSAU, 0, 1)], causes)
    assert [(one.geoid, one.kind, one.old, one.new) for one in listed] == [
        (CLARK, "issued", 5, None),
        (NASSAU, "declined", None, 1),
    ]
    assert restating.unexplained(listed) == []


def test_a_change_without_causes_is_an_error() -> None:
    listed = restating.changes(
        [jurisdiction(CLARK, 5, 1)], [jurisdiction(CLARK, 6, 3)], {(CLARK, "declined"): {"late": 1}}
    )
    assert [one.kind for one in restating.unexplained(listed)] == ["declined", "issued"]


def test_causes_have_a_fixed_order_and_omit_those_that_cancel_out() -> None:
    causes = {(CLARK, "issued"): Counter({"amended": 1, "late": 2, "withdrawn": -1, "redriven": 0})}
    (listed,) = restating.changes([jurisdiction(CLARK, 5, 1)], [jurisdiction(CLARK, 7, 1)], causes)
    assert list(listed.causes.items()) == [("late", 2), ("withdrawn", -1), ("amended", 1)]


def tables(charged: int, mexico: int, unknown: int) -> Tables:
    return Tables(
        offenses=[OffenseRow(category="90D", name="", basis="charged", n=charged)] if charged else [],
        offenses_not_known=unknown,
        offenses_none_recorded=0,
        citizenship=[TableRow(code="MEX", name="Mexico", n=mexico)] if mexico else [],
        reasons=[],
        forms=[],
        requests_for_notification=0,
    )


def test_differing_rows_of_the_national_tables_are_reported() -> None:
    listed = restating.table_changes(tables(3, 0, 1), tables(0, 2, 1))
    assert [(one.table, one.row, one.old, one.new) for one in listed] == [
        ("citizenship", "MEX", 0, 2),
        ("offenses", "90D charged", 3, 0),
    ]
    assert restating.table_changes(tables(3, 2, 1), tables(3, 2, 1)) == []
