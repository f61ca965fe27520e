"""A list of the week's declines, if the operator's law wants one: coarse, or in full. Pure.

Coarse: how many persons of each state, region of citizenship and top offense. A cell below five is never shown; it is
in the remainder. Neither may the difference of two revisions show one: a list is made anew only if in each cell that
either shows the true number is as it was, or differs by five and more. Else the list that was made before goes on.
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
from services.publisher.rules import Rules

LEAST = 5
"""Fewer persons than these are never shown together."""

Cell = tuple[str, str, str]
"""State, region of citizenship, group of the top offense."""
Cells = Mapping[Cell, int]

NOT_KNOWN, NONE_RECORDED = "Not known", "None recorded"


class Decline(Protocol):
    """What a list takes of one declined detainer. `offenses` are `category:basis`."""

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
class Kept:
    """A list as it is kept beside its report. `content` is None once it was withdrawn; `cells` are the true numbers.

    `is_new` says that it was just made.
    """

    mode: str
    sha256: str
    content: bytes | None
    cells: Cells
    is_new: bool = False


def make(declines: Sequence[Decline], rules: Rules, earlier: Sequence[Kept] | None) -> Kept | None:
    """The list that stands with a revision: made anew, or one of `earlier` that goes on; None when there is none.

    `earlier` are all lists that were made of this week, oldest first. None: that is not known any more, after a restore
    from a backup; then nothing more is told.
    """
    mode = rules.line_list_mode
    if mode == "off" or earlier is None:
        return None
    before = [one for one in earlier if one.mode == mode]
    if any(one.content is None for one in before):  # what was withdrawn must not come again with the next revision
        return before[-1]
    if mode == "full":
        return _kept(mode, {"rows": _full(declines, rules)}, {})
    cells = _cells(declines, rules)
    if any(not _tells_nothing(one.cells, cells) for one in before):
        return before[-1]
    return _kept(mode, _coarse(cells), cells)


def part(made: Kept, rules: Rules) -> LineList:
    """What the document says of the list; its digest stands for it when it is withdrawn."""
    basis = rules.legal_basis if made.mode == "full" else None
    return LineList.model_validate({"mode": made.mode, "sha256": made.sha256, "legal_basis": basis})


def kept_cells(cells: Cells) -> list[list[Any]]:
    """Cells as JSON, in order."""
    return [[*cell, n] for cell, n in sorted(cells.items())]


def cells_of(rows: Iterable[Sequence[Any]]) -> dict[Cell, int]:
    """The cells of such JSON."""
    return {(state, region, group): n for state, region, group, n in rows}


def _tells_nothing(old: Cells, new: Cells) -> bool:
    """Whether no difference of both lists tells of fewer than five persons."""
    shown = _shown(old) | _shown(new)
    changes = [new.get(cell, 0) - old.get(cell, 0) for cell in shown]
    rest = sum(new.values()) - sum(old.values()) - sum(changes)
    return all(n == 0 or abs(n) >= LEAST for n in (*changes, rest))


def _shown(cells: Cells) -> set[Cell]:
    """The cells to show. What is left must be five or more too, else the smallest shown is the key to the rest."""
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


def _cells(declines: Iterable[Decline], rules: Rules) -> Counter[Cell]:
    offenses, countries = rules.tables["offenses"], rules.tables["countries"]

    def group(listed: Sequence[str] | None) -> str:
        """NIBRS numbers the gravest first."""
        if not listed:
            return NOT_KNOWN if listed is None else NONE_RECORDED
        return offenses[min(one.partition(":")[0] for one in listed)]["group"]

    return Counter(
        (
            rules.places[one.jurisdiction][1],
            countries[one.citizenship]["region"] if one.citizenship else NOT_KNOWN,
            group(one.offenses),
        )
        for one in declines
    )


def _full(declines: Iterable[Decline], rules: Rules) -> list[dict[str, Any]]:
    """A row a decline, without an identifier; days are UTC."""
    rows = [
        {
            "jurisdiction": one.jurisdiction,
            "name": rules.places[one.jurisdiction][0],
            "state": rules.places[one.jurisdiction][1],
            "issued_on": one.issued_at.date().isoformat(),
            "declined_on": one.declined_at.date().isoformat(),
            "citizenship": one.citizenship,
            "reason": one.reason,
            "offenses": None if one.offenses is None else list(one.offenses),
        }
        for one in declines
    ]
    return sorted(rows, key=json.dumps)


def _kept(mode: str, content: dict[str, Any], cells: Cells) -> Kept:
    return Kept(mode, sha256_of(content), rfc8785.dumps(content), cells, is_new=True)
