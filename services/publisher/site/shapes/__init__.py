"""Shapes for maps: an outline for each state, one point for each county of every edition, and a grid of states.

All in pixels of VIEW_BOX. The sources are in `derive`.
"""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
STATES, POINTS, TILES = "states.json", "points.csv", "tiles.csv"
VIEW_BOX = "-60 10 1020 600"
"""The map's extent, for the attribute `viewBox` of an SVG."""


@cache
def outlines() -> dict[str, str]:
    """SVG path data by the state's two digits: the states, the District of Columbia and Puerto Rico."""
    found: dict[str, str] = json.loads((HERE / STATES).read_text())
    return found


@cache
def points() -> dict[str, tuple[int, int]]:
    """A point by GEOID: each county and equivalent in these states, retired codes included."""
    with (HERE / POINTS).open(newline="") as file:
        return {row["geoid"]: (int(row["x"]), int(row["y"])) for row in csv.DictReader(file)}


@cache
def tiles() -> dict[str, tuple[int, int]]:
    """The column and the row of each state's tile, from 0, by postal code."""
    with (HERE / TILES).open(newline="") as file:
        return {row["state"]: (int(row["column"]), int(row["row"])) for row in csv.DictReader(file)}
