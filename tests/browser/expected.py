"""The tables that the page of a report must show, computed from its JSON by other code than the page's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Document = dict[str, Any]
Table = list[list[str]]


def tables(report: Document, weeks: Sequence[Document]) -> dict[str, Table]:
    """The rows of each table, by its heading. `weeks` are those of the year up to this week: see `year_rows`."""
    found = {
        "Most declined": [[*_place(row), _n(row["declined"]), "", _n(row["issued"])] for row in report["top"]],
        "By state": _states(report["jurisdictions"]),
        "All jurisdictions": [
            [*_place(row), _n(row["issued"]), _n(row["declined"])] for row in report["jurisdictions"]
        ],
        "What the declined were charged with or convicted of": [
            [row["name"], row["category"], row["basis"], _n(row["n"])] for row in report["tables"]["offenses"]
        ],
        "Reasons": _codes(report["tables"]["reasons"]),
        "Citizenship of the declined": _codes(report["tables"]["citizenship"]),
        "Forms of the issued": _codes(report["tables"]["forms"]),
        "What the figures rest on": [_agency(row) for row in report["scope"]["agencies"]],
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
    return "unknown" if number is None else f"{number:,}"


def _place(row: Document) -> list[str]:
    return [", ".join(filter(None, (row["name"], row["state"]))), row["geoid"]]


def _codes(rows: Iterable[Document]) -> Table:
    return [[row["name"], row["code"], _n(row["n"])] for row in rows]


def _states(rows: Sequence[Document]) -> Table:
    """Sums by state. A sum is unknown only if each of its numbers is; places without a state are last."""
    found = []
    for state in sorted({row["state"] for row in rows}, key=lambda state: (not state, state)):
        mine = [row for row in rows if row["state"] == state]
        sums = [
            _n(sum(row[kind] for row in mine if row[kind] is not None))
            if any(row[kind] is not None for row in mine)
            else "unknown"
            for kind in ("issued", "declined")
        ]
        found.append([state or "Federal custody and tribes", _n(len(mine)), *sums])
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
