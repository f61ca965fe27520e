"""services.publisher.site.shapes: outlines, points and tiles, and how they are derived."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.jurisdiction import JurisdictionKind, registry
from services.publisher.site import shapes
from services.publisher.site.shapes import derive

TERRITORIES = {"60", "66", "69", "78"}
"""American Samoa, Guam, the Northern Marianas and the Virgin Islands: not on the map."""
LEFT, TOP, WIDTH, HEIGHT = map(int, shapes.VIEW_BOX.split())


def codes(kind: JurisdictionKind) -> set[str]:
    return {one.code for one in registry() if one.kind is kind and one.code[:2] not in TERRITORIES}


def test_each_county_of_every_edition_has_a_point() -> None:
    assert shapes.points().keys() == codes(JurisdictionKind.COUNTY)
    assert {"46113", "46102", "09001", "09110", "72001"} <= shapes.points().keys()


def test_each_state_has_an_outline_and_a_tile() -> None:
    states = codes(JurisdictionKind.STATE)
    assert shapes.outlines().keys() == states
    postal = {one.state for one in registry() if one.kind is JurisdictionKind.STATE and one.code in states}
    assert shapes.tiles().keys() == postal - {"PR"}
    assert len(set(shapes.tiles().values())) == 51, "no two tiles in one place"


def test_all_points_are_on_the_map() -> None:
    for x, y in shapes.points().values():
        assert LEFT < x < LEFT + WIDTH
        assert TOP < y < TOP + HEIGHT


def test_outlines_are_path_data() -> None:
    path = re.compile(r"(M-?[\d.]+ -?[\d.]+l(-?[\d.]+[ -]?)+z)+")
    for state, data in shapes.outlines().items():
        assert path.fullmatch(data), state


@pytest.mark.parametrize(
    ("geoid", "x", "y"), [("32003", 190, 310), ("36059", 905, 210), ("06037", 105, 360), ("23003", 945, 60)]
)
def test_points_are_where_they_should_be(geoid: str, x: int, y: int) -> None:
    """Clark NV, Nassau NY, Los Angeles CA, Aroostook ME."""
    there = shapes.points()[geoid]
    assert abs(there[0] - x) < 40, there
    assert abs(there[1] - y) < 40, there


def test_files_are_small() -> None:
    assert (shapes.HERE / shapes.STATES).stat().st_size <= 45_000
    assert (shapes.HERE / shapes.POINTS).stat().st_size <= 60_000


def test_a_topology_is_decoded(tmp_path: Path) -> None:
    """Two squares that share an arc. Numbers are differences; ~n is the arc n backwards."""
    path = tmp_path / "t.json"
    path.write_text(
        """{"transform": {"scale": [0.5, 0.5], "translate": [10, 20]},
        "arcs": [[[2, 0], [0, 2]], [[2, 2], [-2, 0], [0, -2], [2, 0]], [[2, 0], [2, 0], [0, 2], [-2, 0]]],
        "objects": {"s": {"geometries": [
            {"id": "a", "type": "Polygon", "arcs": [[0, 1]]},
            {"id": "b", "type": "MultiPolygon", "arcs": [[[2, -1]]]},
            {"id": "c", "type": null, "arcs": []}]}}}"""
    )
    found = dict(derive.Topology(path).polygons("s"))
    assert found["a"] == [[(11, 20), (11, 21), (10, 21), (10, 20), (11, 20)]]
    assert found["b"] == [[(11, 20), (12, 20), (12, 21), (11, 21), (11, 20)]]
    assert found["c"] == []
    assert derive.points(found.items()) == {"a": (10.5, 20.5), "b": (11.5, 20.5)}


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=40))
def test_a_simplified_line_keeps_its_ends_and_adds_no_point(line: list[tuple[int, int]]) -> None:
    points = [(float(x), float(y)) for x, y in line]
    kept = derive.simplified(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    rest = iter(points)
    assert all(point in rest for point in kept), "in order"


def test_points_near_a_line_are_removed() -> None:
    assert derive.simplified([(0, 0), (5, 0.5), (10, 0)]) == [(0, 0), (10, 0)]
    assert derive.simplified([(0, 0), (5, 2), (10, 0)]) == [(0, 0), (5, 2), (10, 0)]


def test_path_data_is_relative() -> None:
    assert derive.path([[(0.04, 1), (10, 1), (10, -5.5), (0.04, 1)]]) == "M0 1l10 0 0-6.5z"
