"""services.publisher.line_list: the cells of a list, and that two lists together reveal no more than each alone."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import taxonomy
from services.publisher import line_list
from services.publisher.inputs import ReportInputs, current
from services.publisher.line_list import LEAST, Cells, StoredList
from services.runtime.settings import Settings
from tests.unit.sample_reports import CALENDAR, EVERYWHERE, Declined, report, snapshot

MEX, GTM = ("NV", "Mexico", "Simple assault"), ("NV", "Central America", "Simple assault")
_CITIZENS = {"Mexico": "MEX", "Central America": "GTM", "Not known": None}
_JURISDICTIONS = {"NV": "32003", "NY": "36059", "TX": "48"}


def report_inputs(mode: str, basis: str | None = None) -> ReportInputs:
    return current(CALENDAR, EVERYWHERE, demonstration=False, notes=[], line_list=mode, legal_basis=basis)


COARSE = report_inputs("coarse")


def declines(cells: Cells) -> list[Declined]:
    return [
        Declined(["13B:charged"], citizenship=_CITIZENS[region], jurisdiction=_JURISDICTIONS[state])
        for (state, region, _), n in cells.items()
        for _ in range(n)
    ]


def content(kept: StoredList | None) -> dict[str, Any]:
    assert kept is not None
    assert kept.content is not None
    found: dict[str, Any] = json.loads(kept.content)
    return found


def shown(kept: StoredList | None) -> dict[tuple[str, str, str], int]:
    return {(row["state"], row["region"], row["offense"]): row["n"] for row in content(kept)["rows"]}


def made(cells: Cells, *earlier: StoredList | None) -> StoredList:
    found = line_list.make(declines(cells), COARSE, [one for one in earlier if one is not None])
    assert found is not None
    return found


def test_every_country_has_a_region() -> None:
    assert {row["region"] for row in taxonomy.countries().rows.values()} > {"Mexico", "Central America", "Africa"}


def test_a_disabled_list_is_absent() -> None:
    assert line_list.make(declines({MEX: 9}), report_inputs("off"), ()) is None
    assert report(snapshot(declined={"32003": 9}, declines=declines({MEX: 9}))).line_list is None


def test_cells_below_five_are_one_remainder() -> None:
    found = made({MEX: 7, GTM: 4, ("NY", "Mexico", "Simple assault"): 2})
    assert shown(found) == {MEX: 7}
    assert content(found)["remainder"] == 6


def test_a_remainder_below_five_absorbs_the_smallest_shown_cell() -> None:
    found = made({MEX: 7, GTM: 9, ("NY", "Mexico", "Simple assault"): 2})
    assert shown(found) == {GTM: 9}
    assert content(found)["remainder"] == 9
    assert content(made({MEX: 3})) == {"rows": [], "remainder": None}
    assert content(made({})) == {"rows": [], "remainder": 0}


def test_the_top_offense_is_the_gravest_and_unknown_differs_from_none() -> None:
    declines = [Declined(["90D:charged", "09A:convicted"])] * 5 + [Declined(None)] * 5 + [Declined([])] * 5
    found = line_list.make(declines, COARSE, ())
    assert {group for _, _, group in shown(found)} == {"Homicide", "Not known", "None recorded"}


def test_one_additional_person_does_not_change_the_list() -> None:
    first = made({MEX: 5, GTM: 9})
    assert made({MEX: 6, GTM: 9}, first) is first


def test_a_cell_that_grows_from_four_to_five_is_not_shown() -> None:
    first = made({MEX: 9, GTM: 4, ("NY", "Mexico", "Simple assault"): 3})
    assert made({MEX: 9, GTM: 5, ("NY", "Mexico", "Simple assault"): 3}, first) is first


def test_a_change_of_at_least_five_recreates_the_list() -> None:
    first = made({MEX: 9, GTM: 9})
    again = made({MEX: 9, GTM: 14}, first)
    assert again is not first
    assert shown(again) == {MEX: 9, GTM: 14}


def test_every_earlier_list_is_compared() -> None:
    first = made({MEX: 10, GTM: 9})
    second = made({MEX: 15, GTM: 9}, first)
    assert made({MEX: 11, GTM: 9}, second) is second, "one more than the first"


CELLS = st.dictionaries(
    st.sampled_from([(s, r, "Simple assault") for s in _JURISDICTIONS for r in _CITIZENS]),
    st.integers(0, 14),
    max_size=9,
)


@given(st.lists(CELLS, min_size=2, max_size=5))
def test_no_two_lists_of_a_week_reveal_fewer_than_five_persons(versions: list[Cells]) -> None:
    """Neither two cells with the same key, nor the remainders, nor a cell that only one list shows."""
    lists: list[tuple[StoredList, Cells]] = []
    for cells in versions:
        kept = made(cells, *[one for one, _ in lists])
        if all(kept is not one for one, _ in lists):
            lists.append((kept, Counter(cells)))
    for kept, cells in lists:
        assert all(n >= LEAST for n in shown(kept).values())
        rest = sum(cells.values()) - sum(shown(kept).values())
        assert not shown(kept) or rest == 0 or rest >= LEAST
    for (one, true), (other, now) in combinations(lists, 2):
        for cell in shown(one).keys() | shown(other).keys():
            difference = abs(now.get(cell, 0) - true.get(cell, 0))
            assert difference == 0 or difference >= LEAST


def test_after_a_withdrawal_or_a_loss_no_list_is_made() -> None:
    first = made({MEX: 9})
    gone = StoredList("coarse", first.sha256, None, {})
    assert made({MEX: 30}, gone) is gone
    assert line_list.make(declines({MEX: 30}), COARSE, None) is None


@pytest.mark.parametrize("mode", ["coarse", "full"])
def test_a_withdrawn_list_does_not_reappear_in_a_later_revision(mode: str) -> None:
    law = report_inputs(mode, "8 U.S.C. 0000")
    first = line_list.make(declines({MEX: 9}), law, ())
    assert first is not None
    gone = StoredList(mode, first.sha256, None, {})
    for n in (9, 30):
        assert line_list.make(declines({MEX: n}), law, [gone]) is gone


def test_a_full_list_has_a_row_per_person_and_names_its_law() -> None:
    law = report_inputs("full", "8 U.S.C. 0000")
    seen = snapshot(declined={"32003": 2}, declines=declines({MEX: 2}))
    document = report(seen, law)
    assert document.line_list is not None
    assert (document.line_list.mode, document.line_list.legal_basis) == ("full", "8 U.S.C. 0000")
    rows = content(line_list.make(declines({MEX: 2}), law, ()))["rows"]
    assert len(rows) == 2
    assert set(rows[0]) == {
        "jurisdiction", "name", "state", "issued_on", "declined_on", "citizenship", "reason", "offenses",
    }  # fmt: skip


def test_the_lists_digest_is_part_of_the_figures_digest() -> None:
    seen = snapshot(declined={"32003": 9}, declines=declines({MEX: 9}))
    with_it, without = report(seen, COARSE), report(seen)
    assert with_it.figures_digest != without.figures_digest
    assert with_it.line_list is not None
    other = with_it.model_copy(update={"line_list": with_it.line_list.model_copy(update={"sha256": "0" * 64})})
    assert other.digest != with_it.digest


def test_a_full_list_requires_a_law() -> None:
    with pytest.raises(ValidationError, match="DDOR_LINE_LIST_BASIS"):
        Settings(line_list="full")
    assert Settings(line_list="full", line_list_basis="8 U.S.C. 0000").line_list == "full"
