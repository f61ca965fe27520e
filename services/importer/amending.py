"""Amends a detainer of an earlier release with the row of a later one. Pure.

A fact is a detainer's issue or decline. An unchanged fact is not sent again. A changed one is sent with the next
version, and one that the later release does not have is sent withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from services.importer.rows import Event, Identity, Kind, Row

NOT_IN_LATER_RELEASE: Final = "not-in-later-release"
WITHDRAWN: Final = "withdrawn: "
"""The beginning of the mark of a row whose facts do not count; the reason follows."""
UNCHANGED: Final = "unchanged since the earlier release, not sent again"
_KINDS: Final[tuple[Kind, ...]] = ("issued", "declined")

Facts = Mapping[Kind, Event]
"""A detainer's facts, each at the highest version that was sent."""


def is_withdrawn(fact: Event) -> bool:
    """Whether the fact counts nowhere."""
    return fact.data.get("withdrawn") is True


def amend(row: Row, detainer_id: str, before: Facts) -> Row:
    """The row with the identity `detainer_id`, and with only those events that differ from the facts `before`."""
    after = {event.kind: event for event in row.events}
    reason = str(after["issued"].data.get("withdrawn_reason") or NOT_IN_LATER_RELEASE)
    events: list[Event] = []
    carried: list[Event] = []
    for kind in _KINDS:
        old, new = before.get(kind), after.get(kind)
        if new is not None:
            version = 1 if old is None else _version(old) + 1
            made = Event(kind, {**new.data, "detainer_id": detainer_id, "version": version})
            if old is not None and _content(old) == _content(made):
                carried.append(old)
            else:
                events.append(made)
        elif old is not None and is_withdrawn(old):
            carried.append(old)
        elif old is not None:
            events.append(withdraw(old, reason))
    marks = row.marks if events else (*row.marks, UNCHANGED)
    return replace(row, events=tuple(events), carried=tuple(carried), marks=marks)


def gone(number: int, identity: Identity, before: Facts, part: str) -> Row:
    """A row that withdraws all facts of a detainer that count. `part` names the group of these rows."""
    live = [before[kind] for kind in _KINDS if kind in before and not is_withdrawn(before[kind])]
    events = tuple(withdraw(fact, NOT_IN_LATER_RELEASE) for fact in live)
    return Row(number, events, None, part=part, marks=(WITHDRAWN + NOT_IN_LATER_RELEASE,), identity=identity)


def withdraw(fact: Event, reason: str) -> Event:
    """The next version of a fact, withdrawn."""
    return Event(fact.kind, {**fact.data, "version": _version(fact) + 1, "withdrawn": True, "withdrawn_reason": reason})


def _version(fact: Event) -> int:
    version = fact.data["version"]
    assert isinstance(version, int)
    return version


def _content(fact: Event) -> dict[str, object]:
    return {key: value for key, value in fact.data.items() if key != "version"}
