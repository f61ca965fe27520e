"""What a report needs besides the log, as contents that are kept by digest: so that an old report can be made again.

A report is built from these contents and from nothing else, whether they were just read from today's registry or come
from the table `input` years later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import rfc8785

from schemas import taxonomy
from schemas.acceptance import RULES_VERSION
from schemas.detainer import Kind
from schemas.jurisdiction import registry
from schemas.week import ReportingCalendar, ReportingWeek
from services.publisher.gates import Thresholds
from services.runtime.agencies import Agencies, matches
from services.runtime.errors import CallerError

Table = Mapping[str, Mapping[str, str]]
"""A code list: code, column, text."""

_TABLES = ("offenses", "reasons", "forms", "countries")
NAMES = ("agencies", "calendar", "jurisdictions", "policies", "presentation", "rules", *_TABLES)


class InputMissingError(CallerError):
    """A report cannot be made again: an input that it names is not there."""


@dataclass(frozen=True, slots=True)
class Sender:
    """An agency as a report sees it: its scope, and no key."""

    name: str
    kinds: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime

    def covers(self, kind: Kind, jurisdiction: str) -> bool:
        """Whether the scope has this kind in this jurisdiction."""
        return kind in self.kinds and any(matches(scope, jurisdiction) for scope in self.jurisdictions)

    def answers_in(self, week: ReportingWeek) -> bool:
        """Whether it may send in some part of the week: one that comes later makes no zero of the past unknown."""
        return self.valid_from < week.ends_at and week.begins_at < self.valid_to


@dataclass(frozen=True)
class Rules:
    """The inputs of a report: canonical JSON by name, see NAMES."""

    contents: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if missing := [name for name in NAMES if name not in self.contents]:
            raise InputMissingError(f"the input {missing[0]} is missing")

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each input, in hex."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.contents.items()}

    @cached_property
    def agencies(self) -> tuple[Sender, ...]:
        """Who may send what."""
        return tuple(
            Sender(
                one["name"],
                tuple(one["kinds"]),
                tuple(one["jurisdictions"]),
                datetime.fromisoformat(one["valid_from"]),
                datetime.fromisoformat(one["valid_to"]),
            )
            for one in self._read("agencies")
        )

    @cached_property
    def places(self) -> dict[str, tuple[str, str]]:
        """Name and state of each jurisdiction, by code."""
        return {code: (name, state) for code, name, state, *_ in self._read("jurisdictions")}

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The code lists, by name."""
        return {name: self._read(name) for name in _TABLES}

    @property
    def zone(self) -> str:
        """The reporting zone's IANA name."""
        return str(self._read("calendar")["zone"])

    @property
    def first_day(self) -> str:
        """The name of the day on which weeks start, such as SATURDAY."""
        return str(self._read("calendar")["starts_on"])

    @property
    def demonstration(self) -> bool:
        """Whether the report shows how the system works and no real events."""
        return bool(self._read("presentation")["demonstration"])

    @property
    def notes(self) -> list[str]:
        """What every rendering says on top."""
        return list(self._read("presentation")["notes"])

    @property
    def line_list_mode(self) -> str:
        """Whether there is a list of declines: off, coarse or full."""
        return str(self._read("policies")["line_list"]["mode"])

    @property
    def legal_basis(self) -> str | None:
        """The law that asks for a full list."""
        basis: str | None = self._read("policies")["line_list"]["legal_basis"]
        return basis

    @property
    def thresholds(self) -> Thresholds:
        """From where on the gates find something."""
        return Thresholds(**self._read("policies")["gates"])

    @property
    def acceptance(self) -> int:
        """The version of the acceptance rules."""
        return int(self._read("rules")["acceptance"])

    def _read(self, name: str) -> Any:  # any JSON value
        return json.loads(self.contents[name])


def current(
    calendar: ReportingCalendar,
    agencies: Agencies,
    *,
    demonstration: bool,
    notes: list[str],
    line_list: str = "off",
    legal_basis: str | None = None,
) -> Rules:
    """Today's inputs. Of the agencies file only names, kinds, jurisdictions and dates: no digest of a key."""
    listed = [
        {
            "name": one.name,
            "kinds": sorted(one.kinds),
            "jurisdictions": sorted(one.jurisdictions),
            "valid_from": one.valid_from.isoformat(),
            "valid_to": one.valid_to.isoformat(),
        }
        for one in agencies.listed
    ]
    tables = (taxonomy.offenses(), taxonomy.reasons(), taxonomy.forms(), taxonomy.countries())
    contents: dict[str, Any] = {
        "agencies": listed,
        "calendar": {"zone": calendar.zone.key, "starts_on": calendar.starts_on.name},
        "jurisdictions": [[one.code, one.name, one.state, one.kind.value, list(one.editions)] for one in registry()],
        "policies": {
            "gates": asdict(Thresholds()),
            "line_list": {"mode": line_list, "legal_basis": legal_basis},
        },
        "presentation": {"demonstration": demonstration, "notes": notes},
        "rules": {"acceptance": RULES_VERSION},
        **{table.name: {code: dict(table.rows[code]) for code in table} for table in tables},
    }
    return Rules({name: rfc8785.dumps(content) for name, content in contents.items()})
