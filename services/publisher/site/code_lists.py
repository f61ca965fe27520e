"""The codes of reports and of the files of all weeks, with their meanings. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, Final

from schemas import taxonomy
from schemas.jurisdiction import Jurisdiction, JurisdictionKind, registry, successions
from schemas.taxonomy import Taxonomy
from services.publisher import inputs
from services.publisher.site import figure_files

_KINDS: Final = {
    "issued": "A federal agency requested that a jail hold a person. Counts in the week in which it was issued",
    "declined": "A jurisdiction did not honor a detainer. Counts in the week in which that was recorded",
}
_REVISION_CAUSES: Final = {
    "initial": "The first report of the week",
    "scheduled": "Figures changed during the restatement period",
    "correction": "An operator requested it; the report has the reason",
}
CHANGE_CAUSES: Final = {
    "late": "Nothing of the detainer had arrived before",
    "redriven": "Its record had been rejected before",
    "withdrawn": "Its agency withdrew it",
    "reassigned": "It moved from or to another week or jurisdiction",
    "amended": "Any other change",
}
_BASES: Final = {"charged": "The person was charged with the offense", "convicted": "The person was convicted of it"}
_JURISDICTION_KINDS: Final = {
    "county": "A county or county equivalent: five digits (GEOID). A city's jail counts for its county",
    "state": "A state, the District of Columbia or a territory: two digits",
    "federal": "Federal custody: US",
    "tribal": "A tribe, by the Census code of its reservation: four digits",
}
_CODED: Final = ("code", "name")


@dataclass(frozen=True, slots=True)
class CodeList:
    """A list of codes. `columns` are the fields of each row; the first one is the code."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]


@cache
def lists() -> tuple[CodeList, ...]:
    """The lists, except for those of jurisdictions."""
    return (
        _meanings("kinds", "Kinds of numbers", _KINDS),
        _meanings("statuses", "Status of a number, in the files of all weeks", figure_files.STATUSES),
        _meanings("revision_causes", "Causes of revisions", _REVISION_CAUSES),
        _meanings("change_causes", "Causes of changes", CHANGE_CAUSES),
        _table("Reasons for declining a detainer", taxonomy.reasons(), _CODED),
        _table("Forms", taxonomy.forms(), (*_CODED, "notification")),
        _table("Offense categories (NIBRS)", taxonomy.offenses(), (*_CODED, "group", "ncic")),
        _meanings("offense_bases", "Bases of offenses", _BASES),
        _table("Citizenships", taxonomy.countries(), (*_CODED, "region")),
        _table("Criteria for honoring a request, in policies", taxonomy.policy_codes(), _CODED),
        _meanings("jurisdiction_kinds", "Kinds of jurisdictions", _JURISDICTION_KINDS),
    )


@cache
def document() -> dict[str, Any]:
    """All lists as JSON. `inputs`: the digests by which a report names the lists that it used."""
    return {
        **{one.name: [dict(row) for row in one.rows] for one in lists()},
        "jurisdictions": [
            {
                "geoid": one.code,
                "name": one.name,
                "state": one.state,
                "kind": one.kind.value,
                "editions": list(one.editions),
            }
            for one in registry()
        ],
        "successions": [
            {
                "predecessor": one.predecessor,
                "successor": one.successor,
                "since": one.since and one.since.isoformat(),
            }
            for one in successions()
        ],
        "inputs": {name: hashlib.sha256(content).hexdigest() for name, content in inputs.code_lists().items()},
    }


@dataclass(frozen=True, slots=True)
class Group:
    """The jurisdictions of a state, or those of a kind that has no state."""

    id: str
    title: str
    places: Sequence[Jurisdiction]


@cache
def groups() -> tuple[Group, ...]:
    """All jurisdictions: by state in the order of names, then tribes and federal custody."""
    names = {one.state: one.name for one in registry() if one.kind is JurisdictionKind.STATE}
    by_state = groupby(sorted((one for one in registry() if one.state), key=_state), key=_state)
    states = [Group(f"state-{state}", names[state], list(places)) for state, places in by_state]
    others = [
        _without_state("tribal", "Tribes", JurisdictionKind.TRIBAL),
        _without_state("federal", "Federal custody", JurisdictionKind.FEDERAL),
    ]
    return (*sorted(states, key=lambda one: one.title), *others)


def is_former(place: Jurisdiction) -> bool:
    """Whether a county's code is in no current edition. Numbers of earlier weeks may still be under it."""
    return place.kind is JurisdictionKind.COUNTY and place.editions[-1] != _newest_edition()


@cache
def _newest_edition() -> str:
    return max(edition for one in registry() for edition in one.editions)


def _without_state(name: str, title: str, kind: JurisdictionKind) -> Group:
    return Group(name, title, [one for one in registry() if one.kind is kind])


def _state(place: Jurisdiction) -> str:
    return place.state


def _meanings(name: str, title: str, meanings: Mapping[str, str]) -> CodeList:
    return CodeList(name, title, _CODED, [{"code": code, "name": meaning} for code, meaning in meanings.items()])


def _table(title: str, table: Taxonomy, columns: Iterable[str]) -> CodeList:
    shown = tuple(columns)
    return CodeList(table.name, title, shown, [{name: table.rows[code][name] for name in shown} for code in table])
