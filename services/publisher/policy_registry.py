"""The registry of policies limiting detainers, as an input of reports. Pure.

A policy belongs to the jurisdiction that enacted it. A state's policy is listed for the state, never for its counties.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import rfc8785

from schemas import taxonomy


@dataclass(frozen=True, slots=True)
class ListedPolicy:
    """One policy. `enacted` is a date or a month. `valid_from` and `valid_to` are its first and last valid day."""

    jurisdiction: str
    enacted: str
    valid_from: date
    valid_to: date | None
    honors: tuple[str, ...]
    source: str

    @property
    def key(self) -> tuple[str, date]:
        """Jurisdiction and first valid day: unique, because the policies of a jurisdiction never overlap."""
        return self.jurisdiction, self.valid_from

    def is_valid_on(self, day: date) -> bool:
        """Whether the policy is valid on this day."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True)
class PolicyRegistry:
    """Policies by jurisdiction and first valid day. `codes` has the name of each code in `honors`."""

    codes: Mapping[str, str]
    policies: tuple[ListedPolicy, ...]

    def valid_on(self, day: date) -> list[ListedPolicy]:
        """The policies that are valid on this day, by jurisdiction: at most one of each."""
        return [one for one in self.policies if one.is_valid_on(day)]


def content(policies: Iterable[ListedPolicy]) -> bytes:
    """Canonical JSON of policies and of the names of their codes. It depends only on the set of policies."""
    listed = sorted(policies, key=lambda one: one.key)
    codes = {code: taxonomy.policy_codes().label(code) for one in listed for code in one.honors}
    rows = [
        {
            "jurisdiction": one.jurisdiction,
            "enacted": one.enacted,
            "valid_from": one.valid_from.isoformat(),
            "valid_to": one.valid_to.isoformat() if one.valid_to else None,
            "honors": list(one.honors),
            "source": one.source,
        }
        for one in listed
    ]
    return rfc8785.dumps({"codes": codes, "policies": rows})


def read(stored: bytes) -> PolicyRegistry:
    """The registry from its `content`."""
    document = json.loads(stored)
    policies = tuple(
        ListedPolicy(
            row["jurisdiction"],
            row["enacted"],
            date.fromisoformat(row["valid_from"]),
            date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
            tuple(row["honors"]),
            row["source"],
        )
        for row in document["policies"]
    )
    return PolicyRegistry(document["codes"], policies)
