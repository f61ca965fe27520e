"""The inputs of a report besides the log: canonical JSON, stored by digest in the table `input`.

A report depends on the log and on these contents only. They come from the current settings and registry, or, when an
old report is verified, from the table.
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
from services.publisher import policy_registry
from services.publisher.gates import Thresholds
from services.publisher.policy_registry import PolicyRegistry
from services.runtime.agencies import Agencies, matches
from services.runtime.errors import CallerError
from services.runtime.settings import Settings

Table = Mapping[str, Mapping[str, str]]
"""A code list: code, column, text."""

_DEMONSTRATION = "Demonstration data."
_TABLES = ("offenses", "reasons", "forms", "countries")
JURISDICTION_POLICIES = "jurisdiction_policies"
"""The registry of policies limiting detainers: an input of each report that was made after the first load of one."""
NAMES = ("agencies", "calendar", "jurisdictions", "policies", "presentation", "rules", *_TABLES)


class InputMissingError(CallerError):
    """An input that the report names is missing, so the report cannot be reproduced."""


@dataclass(frozen=True, slots=True)
class Sender:
    """The scope of an agency, without its keys."""

    name: str
    kinds: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime

    def covers(self, kind: Kind, jurisdiction: str) -> bool:
        """Whether the scope includes this kind in this jurisdiction."""
        return kind in self.kinds and any(matches(scope, jurisdiction) for scope in self.jurisdictions)

    def is_valid_in(self, week: ReportingWeek) -> bool:
        """Whether the agency may send in a part of the week. An agency added later does not affect earlier weeks."""
        return self.valid_from < week.ends_at and week.begins_at < self.valid_to


@dataclass(frozen=True)
class ReportInputs:
    """The inputs of one report: canonical JSON by name. InputMissingError if one of NAMES is missing."""

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
        """The agencies that may send."""
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
    def jurisdictions(self) -> dict[str, tuple[str, str]]:
        """The name and state of each jurisdiction, by code."""
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
        """The name of the first day of a week, such as SATURDAY."""
        return str(self._read("calendar")["starts_on"])

    @property
    def demonstration(self) -> bool:
        """Whether the report contains demonstration data instead of real events."""
        return bool(self._read("presentation")["demonstration"])

    @property
    def notes(self) -> list[str]:
        """The notes at the top of every rendering."""
        return list(self._read("presentation")["notes"])

    @property
    def line_list_mode(self) -> str:
        """The mode of the list of declines: off, coarse or full."""
        return str(self._read("policies")["line_list"]["mode"])

    @property
    def legal_basis(self) -> str | None:
        """The law that requires a full list."""
        basis: str | None = self._read("policies")["line_list"]["legal_basis"]
        return basis

    @property
    def thresholds(self) -> Thresholds:
        """The limits of the gates."""
        return Thresholds(**self._read("policies")["gates"])

    @cached_property
    def policy_registry(self) -> PolicyRegistry | None:
        """The registry of policies limiting detainers; None if none was loaded."""
        content = self.contents.get(JURISDICTION_POLICIES)
        return None if content is None else policy_registry.read(content)

    def with_policies(self, content: bytes | None) -> ReportInputs:
        """These inputs and a registry of policies limiting detainers, if there is one."""
        return self if content is None else ReportInputs({**self.contents, JURISDICTION_POLICIES: content})

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
) -> ReportInputs:
    """The current inputs. Of the agencies file: names, kinds, jurisdictions and dates, but no digest of a key."""
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
    contents: dict[str, Any] = {
        "agencies": listed,
        "calendar": {"zone": calendar.zone.key, "starts_on": calendar.starts_on.name},
        "policies": {
            "gates": asdict(Thresholds()),
            "line_list": {"mode": line_list, "legal_basis": legal_basis},
        },
        "presentation": {"demonstration": demonstration, "notes": notes},
        "rules": {"acceptance": RULES_VERSION},
    }
    return ReportInputs({name: rfc8785.dumps(content) for name, content in contents.items()} | code_lists())


def of_settings(settings: Settings, agencies: Agencies) -> ReportInputs:
    """The inputs of a report that a publisher with these settings makes now."""
    notes = [settings.note or _DEMONSTRATION] if settings.demonstration else []
    return current(
        settings.calendar,
        agencies,
        demonstration=settings.demonstration,
        notes=notes,
        line_list=settings.line_list,
        legal_basis=settings.line_list_basis,
    )


def code_lists() -> dict[str, bytes]:
    """The inputs that are the same for all reports of a release: the registry of jurisdictions and the code lists."""
    tables = (taxonomy.offenses(), taxonomy.reasons(), taxonomy.forms(), taxonomy.countries())
    contents: dict[str, Any] = {
        "jurisdictions": [[one.code, one.name, one.state, one.kind.value, list(one.editions)] for one in registry()],
        **{table.name: {code: dict(table.rows[code]) for code in table} for table in tables},
    }
    return {name: rfc8785.dumps(content) for name, content in contents.items()}
