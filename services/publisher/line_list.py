"""Builds the list of the week's declines, coarse or full, where the operator's law requires one. Pure.

A coarse list contains the number of persons for each state, region of citizenship and top offense. A cell below five is
never shown; its persons are in the remainder. The difference between two revisions must not reveal such a cell either:
a new list is made only if each shown cell has the same true number as before or differs by at least five. Otherwise the
earlier list stays in force.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import rfc8785

from schemas.report import LineList, sha256_of
from services.publisher.inputs import ReportInputs

LEAST = 5
"""The smallest number of persons that a list may show."""

Cell = tuple[str, str, str]
"""State, region of citizenship, group of the top offense."""
Cells = Mapping[Cell, int]

NOT_KNOWN, NONE_RECORDED = "Not known", "None recorded"


class Decline(Protocol):
    """The fields of a declined detainer that a list uses. `offenses` are `category:basis`."""

    @property
    def jurisdiction(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def citizenship(self) -> str | None: ...
    @property
    def offenses(self) -> Sequence[str] | None: ...
    @property
    def issued_at(self) -> datetime: ...
    @property
    def declined_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class StoredList:
    """A line list, stored beside its report.

    `content` is canonical JSON, None after a withdrawal. `cells` are the true numbers. `is_new`: not yet in the table.
    """

    mode: str
    sha256: str
    content: bytes | None
    cells: Cells
    is_new: bool = False


def make(declines: Sequence[Decline], inputs: ReportInputs, earlier: Sequence[StoredList] | None) -> StoredList | None:
    """The list of a revision: a new one, or the latest of `earlier` if a new one would reveal a small cell.

    `earlier` are all lists of this week, oldest first; None if they are unknown after a recovery. Without that
    knowledge no list is published: the result is None.
    """
    mode = inputs.line_list_mode
    if mode == "off" or earlier is None:
        return None
    before = [one for one in earlier if one.mode == mode]
    if any(one.content is None for one in before):  # a withdrawn list must not return with the next revision
        return before[-1]
    if mode == "full":
        return _new_list(mode, {"rows": _full(declines, inputs)}, {})
    cells = _cells(declines, inputs)
    if any(not _reveals_nothing(one.cells, cells) for one in before):
        return before[-1]
    return _new_list(mode, _coarse(cells), cells)


def part(made: StoredList, inputs: ReportInputs) -> LineList:
    """The entry in the report. Its digest identifies the list, also after a withdrawal."""
    basis = inputs.legal_basis if made.mode == "full" else None
    return LineList.model_validate({"mode": made.mode, "sha256": made.sha256, "legal_basis": basis})


def cells_to_json(cells: Cells) -> list[list[Any]]:
    """The JSON form of cells, sorted."""
    return [[*cell, n] for cell, n in sorted(cells.items())]


def cells_from_json(rows: Iterable[Sequence[Any]]) -> dict[Cell, int]:
    """Read the JSON form."""
    return {(state, region, group): n for state, region, group, n in rows}


def _reveals_nothing(old: Cells, new: Cells) -> bool:
    """Whether no difference between the two lists reveals fewer than five persons."""
    shown = _shown(old) | _shown(new)
    changes = [new.get(cell, 0) - old.get(cell, 0) for cell in shown]
    rest = sum(new.values()) - sum(old.values()) - sum(changes)
    return all(n == 0 or abs(n) >= LEAST for n in (*changes, rest))


def _shown(cells: Cells) -> set[Cell]:
    """The cells to show. The remainder must be 0 or at least five; if not, the smallest shown cells join it."""
    shown = sorted((n, cell) for cell, n in cells.items() if n >= LEAST)
    rest = sum(cells.values()) - sum(n for n, _ in shown)
    while 0 < rest < LEAST and shown:
        n, _ = shown.pop(0)
        rest += n
    return {cell for _, cell in shown}


def _coarse(cells: Cells) -> dict[str, Any]:
    shown = _shown(cells)
    rest = sum(n for cell, n in cells.items() if cell not in shown)
    rows = [
        {"state": state, "region": region, "offense": group, "n": cells[state, region, group]}
        for state, region, group in sorted(shown)
    ]
    return {"rows": rows, "remainder": rest if rest >= LEAST or not rest else None}


def _cells(declines: Iterable[Decline], inputs: ReportInputs) -> Counter[Cell]:
    offenses, countries = inputs.tables["offenses"], inputs.tables["countries"]

    def group(listed: Sequence[str] | None) -> str:
        """The group of the top offense. NIBRS codes sort from the most serious offense."""
        if not listed:
            return NOT_KNOWN if listed is None else NONE_RECORDED
        return offenses[min(one.partition(":")[0] for one in listed)]["group"]

    return Counter(
        (
            inputs.jurisdictions[one.jurisdiction][1],
            countries[one.citizenship]["region"] if one.citizenship else NOT_KNOWN,
            group(one.offenses),
        )
        for one in declines
    )


def _full(declines: Iterable[Decline], inputs: ReportInputs) -> list[dict[str, Any]]:
    """One row for each decline, without an identifier. Dates are in UTC."""
    rows = [
        {
            "jurisdiction": one.jurisdiction,
            "name": inputs.jurisdictions[one.jurisdiction][0],
            "state": inputs.jurisdictions[one.jurisdiction][1],
            "issued_on": one.issued_at.date().isoformat(),
            "declined_on": one.declined_at.date().isoformat(),
            "citizenship": one.citizenship,
            "reason": one.reason,
            "offenses": None if one.offenses is None else list(one.offenses),
        }
        for one in declines
    ]
    return sorted(rows, key=json.dumps)


def _new_list(mode: str, content: dict[str, Any], cells: Cells) -> StoredList:
    return StoredList(mode, sha256_of(content), rfc8785.dumps(content), cells, is_new=True)
