"""The tables that the page of a report must show, computed from its JSON by other code than the page's. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from schemas.jurisdiction import registry

_NO_STATE = "Federal custody and tribes"

Document = dict[str, Any]
Table = list[list[str]]


def tables(report: Document, weeks: Sequence[Document], files: Mapping[str, bytes]) -> dict[str, Table]:
    """The rows of each table, by its heading.

    `weeks` are those of the year up to this week: see `year_rows`; each has its `jurisdictions`. `files` are the other
    formats of the report.
    """
    found = {
        "Most declined": [_leader(row, report, weeks) for row in report["top"]],
        "By state": _states(report["jurisdictions"]),
        "All jurisdictions": [*_grouped(report["jurisdictions"])],
        "What the declined were charged with or convicted of": _offenses(report["tables"]["offenses"]),
        "Reasons": _codes(report["tables"]["reasons"]),
        "Citizenship of the declined": _codes(report["tables"]["citizenship"]),
        "Forms of the issued": _codes(report["tables"]["forms"]),
        "What the figures rest on": [_agency(row) for row in report["scope"]["agencies"]],
        "Files, citation, check": [
            [form.upper(), f"{len(body):,}", hashlib.sha256(body).hexdigest()] for form, body in files.items()
        ],
    }
    if weeks:
        found["The numbers of the charts"] = year_rows(weeks)
    if report["policies"] is not None:
        found["Section III: policies limiting detainers"] = [
            [*_place(row), row["enacted"], row["since"], "; ".join(one["name"] for one in row["honored"]), "source"]
            for row in report["policies"]
        ]
    if report["changes"] or report["table_changes"]:
        found[f"Changed since revision {report['revision'] - 1}"] = [*_changes(report)]
    return found


def year_rows(weeks: Sequence[Document]) -> Table:
    """The table of the year, newest week first. Each week has its newest and its first totals."""
    return [
        [one["week"], _n(one["issued"]), _n(one["first_issued"]), _n(one["declined"]), _n(one["first_declined"])]
        for one in reversed(weeks)
    ]


def _n(number: int | None) -> str:
    return "U" if number is None else f"{number:,}"


def _place(row: Document) -> list[str]:
    return [", ".join(filter(None, (row["name"], row["state"]))), row["geoid"]]


def _codes(rows: Iterable[Document]) -> Table:
    return [[row["name"], row["code"], _n(row["n"])] for row in rows]


def _leader(row: Document, report: Document, weeks: Sequence[Document]) -> list[str]:
    """A row of the most declined, with the week before and the maximum of the year if there are other weeks."""
    first, last = [*_place(row), _n(row["declined"]), ""], _n(row["issued"])
    if len(weeks) < 2:
        return [*first, last]
    numbers = {
        one["week"]: place["declined"]
        for one in weeks
        for place in one["jurisdictions"]
        if place["geoid"] == row["geoid"]
    }
    before = str(date.fromisoformat(report["week_start"]) - timedelta(days=7))
    most = max(n for n in numbers.values() if n is not None)
    return [*first, _n(numbers[before]) if before in numbers else "·", "", _n(most), last]


def _offenses(rows: Sequence[Document]) -> Table:
    """One row for each offense, the greatest number first."""
    counts = {(row["category"], row["basis"]): row["n"] for row in rows}
    pairs = {
        (row["name"], row["category"]): [counts.get((row["category"], basis), 0) for basis in ("charged", "convicted")]
        for row in rows
    }
    ordered = sorted(pairs.items(), key=lambda one: (-max(one[1]), one[0][1]))
    return [[name, category, _n(charged), "", _n(convicted), ""] for (name, category), (charged, convicted) in ordered]


def _by_state(rows: Sequence[Document]) -> list[tuple[str, list[Document]]]:
    """The rows of each state, by the name of the state; places without a state are last."""
    names = {one.state: one.name for one in registry() if len(one.code) == 2 and one.state} | {"": _NO_STATE}
    groups: dict[str, list[Document]] = {}
    for row in rows:
        groups.setdefault(row["state"], []).append(row)
    return [(names[state], groups[state]) for state in sorted(groups, key=lambda one: (not one, names[one]))]


def _grouped(rows: Sequence[Document]) -> Iterable[list[str]]:
    for name, mine in _by_state(rows):
        yield [name]
        for row in mine:
            custody = ", state custody" if len(row["geoid"]) == 2 and row["state"] else ""
            yield [f"{row['name']}{custody}", row["geoid"], _n(row["issued"]), _n(row["declined"])]


def _states(rows: Sequence[Document]) -> Table:
    """Sums by state. A sum is unknown only if each of its numbers is."""
    found = []
    for name, mine in _by_state(rows):
        known = [[row[kind] for row in mine if row[kind] is not None] for kind in ("issued", "declined")]
        found.append([name, _n(len(mine)), *(_n(sum(numbers) if numbers else None) for numbers in known)])
    return found


def _agency(row: Document) -> list[str]:
    cells = [row["agency"], row["status"]]
    for kind in ("issued", "declined"):
        attested, missing = row[f"attested_{kind}"], row[f"missing_{kind}"]
        difference = f" ({missing:+,})" if missing else ""
        cells += [_n(row[kind]), "" if attested is None else f"{attested:,}{difference}"]
    return cells


def _changes(report: Document) -> Iterable[list[str]]:
    for row in report["changes"]:
        numbers = ["no figure" if n is None else f"{n:,}" for n in (row["old"], row["new"])]
        causes = " ".join(f"{cause} {n:+d}" for cause, n in row["causes"].items())
        yield [row["geoid"], row["kind"], *numbers, causes]
    for row in report["table_changes"]:
        yield [row["row"] or "Not given", row["table"], _n(row["old"]), _n(row["new"]), ""]
