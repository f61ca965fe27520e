"""services.publisher.site.maps: the dot map, the grid of states and the subtotals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.publisher.site import maps


def row(geoid: str, state: str | None, issued: int | None, declined: int | None) -> dict[str, Any]:
    return {"geoid": geoid, "name": geoid, "state": state, "issued": issued, "declined": declined}


ROWS = [
    row("32003", "NV", 100, 51),
    row("36059", "NY", 90, 38),
    row("32", "NV", 4, 2),
    row("US", None, 7, 1),
    row("36061", "NY", None, None),
    row("19075", "IA", 0, 0),
    row("2430", "AZ", None, None),
]


def test_circles_have_areas_in_proportion_and_the_largest_comes_first() -> None:
    clark, nassau = maps.dot_map(ROWS).circles
    assert [one.row["geoid"] for one in (clark, nassau)] == ["32003", "36059"]
    assert clark.radius == maps.LARGEST_RADIUS
    assert (nassau.radius / clark.radius) ** 2 == pytest.approx(38 / 51)


def test_rows_without_a_place_are_named() -> None:
    assert [one["geoid"] for one in maps.dot_map(ROWS).not_shown] == ["32", "US"]


def test_zero_and_unknown_have_no_circle() -> None:
    assert maps.dot_map(ROWS[4:]) == maps.DotMap([], [])


def test_subtotals_are_the_sums_of_known_numbers() -> None:
    assert maps.by_state(ROWS) == [
        maps.StateTotal("AZ", 1, None, None),
        maps.StateTotal("IA", 1, 0, 0),
        maps.StateTotal("NV", 2, 104, 53),
        maps.StateTotal("NY", 2, 90, 38),
        maps.StateTotal("", 1, 7, 1),
    ]


def test_tiles_distinguish_zero_unknown_and_no_row() -> None:
    texts = {tile.state: tile.text for tile in maps.tiles(maps.by_state(ROWS))}
    assert (texts["NV"], texts["IA"], texts["AZ"], texts["TX"]) == ("53", "0", "U", "·")
    assert len(texts) == 51


COUNTS = st.none() | st.integers(0, 10**6)
CODES = st.sampled_from([("32003", "NV"), ("36059", "NY"), ("32", "NV"), ("US", None), ("46113", "SD"), ("02", "AK")])


@given(st.lists(st.tuples(CODES, COUNTS, COUNTS), max_size=6, unique_by=lambda one: one[0]))
def test_no_number_is_lost(entries: list[tuple[tuple[str, str | None], int | None, int | None]]) -> None:
    rows = [row(*code, issued, declined) for code, issued, declined in entries]
    drawn = maps.dot_map(rows)
    placed = [one.row for one in drawn.circles] + list(drawn.not_shown)
    whole = sum(one["declined"] or 0 for one in rows)
    assert sum(one["declined"] for one in placed) == whole
    assert sum(total.declined or 0 for total in maps.by_state(rows)) == whole
    assert sum(total.issued or 0 for total in maps.by_state(rows)) == sum(one["issued"] or 0 for one in rows)
