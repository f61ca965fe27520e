"""Which layout a header has, and which column has which field: `layouts.toml`, applied. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from services.importer.rows import NotThisFileError

_SIGNS = re.compile(r"[^a-z0-9]+")
_SNAKE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_FEWEST_KNOWN = 3
"""A row with fewer known names is no header."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A release's columns, in one spelling; those in `optional` may be absent."""

    name: str
    columns: frozenset[str]
    optional: frozenset[str]


@dataclass(frozen=True, slots=True)
class Header:
    """A recognized header: the layout's name, each field's column (0-based), and names that no layout has."""

    layout: str
    columns: Mapping[str, int]
    unknown: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Tables:
    deciding: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    layouts: tuple[Layout, ...]
    cleaned: frozenset[str]
    known: frozenset[str]


def spelling(name: object) -> str:
    """A column's name in the spelling in which names are compared."""
    return _SIGNS.sub(" ", str(name if name is not None else "").casefold()).strip()


def fields() -> tuple[str, ...]:
    """The fields that a row has, in a fixed order."""
    return tuple(_tables().fields)


def known_names(names: Sequence[object]) -> int:
    """How many of these are names of columns that some layout has: the header is the row with most."""
    return len({spelling(name) for name in names} & _tables().known)


def recognize(names: Sequence[object], where: str, given: Mapping[str, str]) -> Header:
    """The layout of a header. `given` maps fields to columns that a mapping file names.

    Raises NotThisFileError, whose message begins with `where`, when a column is missing that decides, or a column of a
    field occurs twice.
    """
    tables = _tables()
    spelt = [spelling(name) for name in names]
    columns = {}
    for field, synonyms in tables.fields.items():
        wanted = (spelling(given[field]),) if field in given else synonyms
        if found := next((name for name in wanted if name in spelt), None):
            if (count := spelt.count(found)) > 1:
                raise NotThisFileError(f"{where}the column {found!r} occurs {count} times; delete all but one")
            columns[field] = spelt.index(found)
        elif field in given:
            name = given[field]
            raise NotThisFileError(f"{where}the mapping file names {name!r} for {field}; the header has no such column")
    nearest = _nearest(frozenset(spelt))
    _decide(columns, nearest, where)
    cleaned = all(_SNAKE.fullmatch(str(name)) for name in names if name)
    known = tables.known | {spelling(name) for name in given.values()}
    unknown = tuple(str(name) for name, one in zip(names, spelt, strict=True) if one and one not in known)
    name = f"cleaned {nearest.name}" if cleaned else nearest.name
    return Header(name, columns, unknown, tuple(field for field in tables.fields if field not in columns))


def _decide(columns: Mapping[str, int], nearest: Layout, where: str) -> None:
    tables = _tables()
    missing = [field for field in tables.deciding if field not in columns]
    if not missing:
        return
    synonyms = [tables.fields[field] for field in missing]
    names = [next((one for one in known if one in nearest.columns), known[0]) for known in synonyms]
    raise NotThisFileError(
        f"{where}no column for {', '.join(missing)}; the nearest layout is {nearest.name}, where they are named "
        f"{', '.join(map(repr, names))}. If the file has them under other names, say so in a --mapping file"
    )


def _nearest(names: frozenset[str]) -> Layout:
    """The layout with the greatest share of names in common; the first of equals."""
    return max(_tables().layouts, key=lambda one: len(names & one.columns) / len(names | (one.columns - one.optional)))


def is_header(names: Sequence[object], given: Mapping[str, str]) -> bool:
    """Whether a row names enough columns to be a header."""
    spelt = {spelling(name) for name in names}
    mapped = len(spelt & {spelling(name) for name in given.values()})
    return known_names(names) + mapped >= _FEWEST_KNOWN


@cache
def _tables() -> _Tables:
    table = tomllib.loads((files(__package__) / "layouts.toml").read_text(encoding="utf-8"))
    layouts = tuple(
        Layout(one["name"], frozenset(map(spelling, one["columns"])), frozenset(map(spelling, one["optional"])))
        for one in table["layouts"]
    )
    names = {field: tuple(map(spelling, synonyms)) for field, synonyms in table["fields"].items()}
    cleaned = frozenset(map(spelling, table["cleaned"]["columns"]))
    known = cleaned.union(*(one.columns for one in layouts), *names.values())
    return _Tables(tuple(table["deciding"]), names, layouts, cleaned, frozenset(known))
