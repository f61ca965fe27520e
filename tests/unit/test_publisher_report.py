"""services.publisher.report: from a snapshot to the figures."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.detainer import Kind
from schemas.jurisdiction import registry
from schemas.report import Figures, JurisdictionRow
from services.publisher import report as reporting
from services.publisher.report import Snapshot
from services.runtime.agencies import Agencies
from tests.unit.sample_reports import EVERYWHERE, VECTOR, WEEK, Declined, listed, report, report_inputs, snapshot

COUNTIES = [entry.code for entry in registry() if len(entry.code) == 5]


def figures(
    issued: dict[str, int] | None = None, declined: dict[str, int] | None = None, known: Agencies = EVERYWHERE
) -> Figures:
    return build_figures(snapshot(issued, declined), known)


def build_figures(seen: Snapshot, known: Agencies) -> Figures:
    return reporting.draft(WEEK, seen, report_inputs(known)).figures


def test_a_week_without_anything_has_a_report_of_zeros() -> None:
    found = report(snapshot())
    assert (found.totals.issued, found.totals.declined) == (0, 0)
    assert (found.top, found.jurisdictions, found.top_declined, found.tied_at_tenth) == ([], [], 0, 0)
    tables = found.tables
    assert [*tables.offenses, *tables.reasons, *tables.forms, *tables.citizenship] == []
    assert found.scope.oldest_decline_issued_on is None
    assert found.scope.longest_issue_to_record_days is None


def test_totals_are_the_sums_of_the_counters() -> None:
    found = figures({"32003": 118, "US": 24, "36059": 44}, {"32003": 51, "36059": 38})
    assert (found.totals.issued, found.totals.declined) == (186, 89)


def test_a_jurisdiction_is_named_by_the_registry() -> None:
    rows = {
        row.geoid: (row.name, row.state) for row in figures({"19069": 5, "36033": 9, "48": 1, "US": 1}).jurisdictions
    }
    assert rows == {
        "19069": ("Franklin County", "IA"),
        "36033": ("Franklin County", "NY"),
        "48": ("Texas", "TX"),
        "US": ("United States (federal custody)", ""),
    }


def test_jurisdictions_are_sorted_by_declined_then_issued_then_code() -> None:
    found = figures({"01001": 1, "01003": 9, "01005": 1, "01007": 4}, {"01005": 2, "01007": 2, "01009": 7})
    assert [row.geoid for row in found.jurisdictions] == ["01009", "01007", "01005", "01003", "01001"]


def ranked(*declined: int) -> Figures:
    return figures(declined=dict(zip(COUNTIES, declined, strict=False)))


def test_the_top_has_ten() -> None:
    found = ranked(51, 38, 13, 12, 12, 9, 7, 5, 5, 5, 3, 3)
    assert [row.declined for row in found.top] == [51, 38, 13, 12, 12, 9, 7, 5, 5, 5]
    assert (found.top_declined, found.tied_at_tenth) == (157, 0)
    assert found.top == found.jurisdictions[:10]


@pytest.mark.parametrize(
    ("declined", "tied"),
    [
        ((9,) * 10, 0),
        ((9,) * 11, 1),
        ((9,) * 9 + (5, 5, 5, 4), 2),
        ((9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1), 1),
        ((9, 9, 9), 0),
        ((), 0),
    ],
)
def test_ties_at_the_tenth_place_are_reported(declined: tuple[int, ...], tied: int) -> None:
    found = ranked(*declined)
    assert found.tied_at_tenth == tied
    assert len(found.top) == min(10, len(declined))


def test_a_jurisdiction_without_declines_is_not_in_the_top() -> None:
    assert [row.geoid for row in figures({"01001": 90, "01003": 5}, {"01003": 1}).top] == ["01003"]


LOCAL = listed(("vegas", "issued declined", "32*"), ("nassau", "issued", "36059"), ("albany", "declined", "36*"))


def row(issued: dict[str, int], heard: list[str], known: Agencies = LOCAL) -> JurisdictionRow:
    seen = snapshot(issued, heard={(name, Kind.ISSUED): 1 for name in heard})
    return build_figures(seen, known).jurisdictions[0]


def test_zero_requires_events_of_the_responsible_agency() -> None:
    assert row({"32003": 5}, ["vegas"]).declined == 0
    assert row({"32003": 5}, []).declined is None
    assert row({"32003": 5}, ["nassau", "albany"]).declined is None


def test_zero_depends_on_agencies_that_may_send_the_kind() -> None:
    assert row({"36059": 5}, ["nassau"]).declined is None
    assert row({"36059": 5}, ["nassau", "albany"]).declined == 0


def test_a_jurisdiction_without_an_agency_is_unknown() -> None:
    assert row({"01001": 5}, ["vegas", "nassau", "albany"]).declined is None


def test_one_silent_agency_of_two_makes_the_figure_unknown() -> None:
    """A scope that was handed over during the week has two agencies. Zero requires both of them."""
    old, new = listed(("old", "declined", "32*")).listed[0], listed(("new", "declined", "32*")).listed[0]
    at = datetime(2017, 1, 30, tzinfo=UTC)
    both = Agencies((old.model_copy(update={"valid_to": at}), new.model_copy(update={"valid_from": at})), b"", "")
    assert row({"32003": 1}, ["old"], both).declined is None
    assert row({"32003": 1}, ["new"], both).declined is None
    assert row({"32003": 1}, ["old", "new"], both).declined == 0


def attested_row(attested: dict[tuple[str, Kind], int], heard: list[str]) -> JurisdictionRow:
    seen = snapshot({"32003": 5}, heard={(name, Kind.ISSUED): 1 for name in heard}, attested=attested)
    return build_figures(seen, LOCAL).jurisdictions[0]


def test_an_attestation_of_the_kind_makes_zero_known() -> None:
    assert attested_row({("vegas", Kind.DECLINED): 0}, []).declined == 0
    assert attested_row({("vegas", Kind.DECLINED): 3}, []).declined == 0, "the scope has the difference"
    assert attested_row({("vegas", Kind.ISSUED): 5}, []).declined is None
    assert attested_row({("nassau", Kind.DECLINED): 0}, []).declined is None
    assert attested_row({("vegas", Kind.ISSUED): 5}, ["vegas"]).declined == 0


def test_the_scope_has_each_agencys_attestation_and_its_difference() -> None:
    heard = {("vegas", Kind.ISSUED): 118, ("vegas", Kind.DECLINED): 51, ("nassau", Kind.ISSUED): 44}
    attested = {("vegas", Kind.ISSUED): 118, ("vegas", Kind.DECLINED): 51, ("stray", Kind.ISSUED): 0}
    seen = snapshot({"32003": 118}, heard=heard, attested=attested)
    scope = reporting.build_scope(WEEK, seen, report_inputs(LOCAL), late=0)
    assert {one.agency: one.status for one in scope.agencies} == {
        "albany": "silent", "nassau": "heard", "stray": "attested", "vegas": "attested",
    }  # fmt: skip
    more = snapshot({"32003": 118}, heard=heard, attested=attested | {("vegas", Kind.DECLINED): 49})
    (vegas,) = [
        one for one in reporting.build_scope(WEEK, more, report_inputs(LOCAL), late=0).agencies if one.agency == "vegas"
    ]
    assert (vegas.status, vegas.declined, vegas.attested_declined, vegas.missing_declined) == ("differing", 51, 49, -2)
    assert (vegas.attested_issued, vegas.missing_issued) == (118, 0)


def test_an_agency_whose_facts_are_all_withdrawn_was_heard() -> None:
    seen = snapshot(declined={"32003": 1}, heard={("vegas", Kind.DECLINED): 0})
    assert build_figures(seen, LOCAL).jurisdictions[0].issued == 0


def tables(*declines: Declined, forms: dict[str | None, int] | None = None) -> Figures:
    return build_figures(snapshot(declined={"32003": len(declines)}, declines=declines, forms=forms), EVERYWHERE)


def test_a_person_counts_for_each_offense() -> None:
    found = tables(
        Declined(["09A:charged", "90D:convicted"]), Declined(["90D:charged"]), Declined(["90D:convicted"])
    ).tables
    assert [(one.category, one.basis, one.n) for one in found.offenses] == [
        ("09A", "charged", 1),
        ("90D", "charged", 1),
        ("90D", "convicted", 2),
    ]
    assert found.offenses[1].name == "Driving under the influence"


def test_unknown_offenses_are_counted_apart_from_none_recorded() -> None:
    found = tables(Declined(None), Declined(None), Declined([]), Declined(["520:charged"])).tables
    assert (found.offenses_not_known, found.offenses_none_recorded) == (2, 1)


def test_a_table_is_sorted_by_count_then_code_with_unknown_last() -> None:
    given_ = [Declined(citizenship=code) for code in ("MEX", "GTM", "MEX", "COL", None, None, None)]
    found = tables(*given_).tables.citizenship
    assert [(one.code, one.n) for one in found] == [("MEX", 2), ("COL", 1), ("GTM", 1), ("", 3)]
    assert [one.name for one in found] == ["Mexico", "Colombia", "Guatemala", "Not given"]


def test_reasons_are_counted_by_name() -> None:
    found = tables(Declined(reason="capacity"), Declined(reason=None)).tables.reasons
    assert [(one.code, one.name, one.n) for one in found] == [
        ("capacity", "Lack of space or staff", 1),
        ("", "Not given", 1),
    ]


def test_forms_that_request_notification_are_totalled_apart() -> None:
    found = tables(forms={"I-247A": 5, "I-247N": 2, "I-247X": 1, None: 3}).tables
    assert [(one.code, one.n) for one in found.forms] == [("I-247A", 5), ("I-247N", 2), ("I-247X", 1), ("", 3)]
    assert found.requests_for_notification == 3


@given(
    counts=st.dictionaries(
        st.tuples(st.sampled_from(COUNTIES[:40]), st.sampled_from(["issued", "declined"])), st.integers(1, 20)
    )
)
def test_the_rows_sum_to_the_totals(counts: dict[tuple[str, str], int]) -> None:
    split = {kind: {code: n for (code, of), n in counts.items() if of == kind} for kind in ("issued", "declined")}
    found = figures(split["issued"], split["declined"])
    assert found.totals.issued == sum(row.issued or 0 for row in found.jurisdictions) == sum(split["issued"].values())
    assert found.totals.declined == sum(row.declined or 0 for row in found.jurisdictions)
    assert {row.geoid for row in found.jurisdictions} == {code for code, _ in counts}
    assert found.top == [row for row in found.jurisdictions if row.declined][:10]
    assert found.top_declined == sum(row.declined or 0 for row in found.top)


def test_the_scope_lists_heard_and_silent_agencies() -> None:
    heard = {("vegas", Kind.ISSUED): 5, ("vegas", Kind.DECLINED): 2, ("closed", Kind.ISSUED): 1}
    found = report(snapshot({"32003": 6}, heard=heard, withdrawn=4, rejected=9), report_inputs(LOCAL)).scope
    assert [(one.agency, one.status, one.issued, one.declined) for one in found.agencies] == [
        ("albany", "silent", 0, 0),
        ("closed", "heard", 1, 0),
        ("nassau", "silent", 0, 0),
        ("vegas", "heard", 5, 2),
    ]
    assert (found.withdrawn, found.rejected_records) == (4, 9)


def test_the_scope_has_the_age_of_the_declines() -> None:
    at = datetime(2017, 1, 30, tzinfo=UTC)
    old = Declined(issued_at=datetime(2014, 1, 31, 23, tzinfo=UTC), declined_at=at, recorded_at=at)
    one_instant = Declined(issued_at=at, declined_at=at, recorded_at=at)
    found = report(snapshot(declined={"32003": 3}, declines=[old, one_instant, Declined()])).scope
    assert found.oldest_decline_issued_on == date(2014, 1, 31)
    assert found.longest_issue_to_record_days == 1094
    assert found.declines_with_one_instant == 1


def test_a_report_names_its_week_vector_and_inputs() -> None:
    used = report_inputs(notes=("Demonstration data.",))
    found = report(snapshot(), used, revision=2, previous="f" * 64)
    assert (found.week_start, found.week_end, found.zone) == (date(2017, 1, 28), date(2017, 2, 3), "America/New_York")
    assert (found.revision, found.previous_digest, found.cause) == (2, "f" * 64, "initial")
    assert (found.demonstration, found.notes) == (True, ["Demonstration data."])
    assert found.offsets == VECTOR.to_json()
    assert found.inputs == {name: hashlib.sha256(content).hexdigest() for name, content in used.contents.items()}


def test_the_report_of_one_snapshot_is_always_the_same() -> None:
    seen = snapshot({"32003": 5}, {"32003": 2}, declines=[Declined(), Declined(None)])
    assert report(seen).digest == report(seen).digest


def test_the_order_of_rows_read_does_not_matter() -> None:
    declines = [Declined(["90D:charged"]), Declined(None, "capacity", "GTM"), Declined([], None, None)]
    one, other = ({"32003": 1, "36059": 1}, {"36059": 1, "32003": 1})
    first = report(snapshot(one, one, declines=declines, forms={"I-247": 1, "I-247A": 1}))
    second = report(snapshot(other, other, declines=declines[::-1], forms={"I-247A": 1, "I-247": 1}))
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "declined"),
    [
        (None, None, None),
        (WEEK.begins_at, WEEK.ends_at, None),
        (WEEK.ends_at - timedelta(seconds=1), None, None),
        (WEEK.ends_at, None, 0),
        (None, WEEK.begins_at, 0),
        (None, WEEK.begins_at + timedelta(seconds=1), None),
    ],
)
def test_an_agency_of_another_time_does_not_make_zero_unknown(
    valid_from: datetime | None, valid_to: datetime | None, declined: int | None
) -> None:
    """An agency that is added today does not change the zeros of an earlier week."""
    here, other = LOCAL.listed[0], listed(("other", "declined", "32*")).listed[0]
    times = {"valid_from": valid_from, "valid_to": valid_to}
    other = other.model_copy(update={name: at for name, at in times.items() if at is not None})
    both = Agencies((here, other), b"", "")
    assert row({"32003": 1}, ["vegas"], both).declined == declined
    seen = snapshot({"32003": 1}, heard={("vegas", Kind.ISSUED): 1})
    assert ("other" in {one.agency for one in report(seen, report_inputs(both)).scope.agencies}) == (declined is None)
