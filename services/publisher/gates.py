"""What may hold a week before it is published: findings that a person should look at. Pure.

They refuse nothing. A week that a gate holds goes out when an operator releases it, or flagged when its deadline has
passed. That counters equal the ledger is no gate: without it there is no report at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from schemas.report import Flag

SPIKE_FACTOR = 5
SPIKE_FROM = 50
"""A week of an agency is a spike when it has at least 50 declines and more than five times its median week (as the
one-day batch of old cases that made one county 142 of 206 in 2017)."""

OLD_DAYS = 180
OLD_SHARE = 0.5
OLD_FROM = 20
"""Old cases: more than half of at least 20 declines are of detainers issued more than 180 days before."""

UNISSUED_SHARE = 0.2
UNISSUED_FROM = 20
"""Declines without an issue: more than a fifth of at least 20 declines are of detainers that nobody sent as issued."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gates look at. Counts are of declines in the week that is closing."""

    declines: int
    old_declines: int
    unissued_declines: int
    open_conflicts: int
    halted: Mapping[str, str]
    by_agency: Mapping[str, int]
    weeks_before: Mapping[str, Sequence[int]]


def flags(evidence: Evidence) -> list[Flag]:
    """All findings, in a fixed order."""
    return [*_spikes(evidence), *_shares(evidence), *_standing(evidence)]


def _spikes(evidence: Evidence) -> Iterable[Flag]:
    for agency, count in sorted(evidence.by_agency.items()):
        before = evidence.weeks_before.get(agency, ())
        if count >= SPIKE_FROM and before and count > SPIKE_FACTOR * median(before):
            usual = round(median(before))
            yield Flag(gate="spike", subject=agency, detail=f"{count:,} declines; its median week has {usual:,}")


def _shares(evidence: Evidence) -> Iterable[Flag]:
    n = evidence.declines
    if n >= OLD_FROM and evidence.old_declines > OLD_SHARE * n:
        detail = f"{evidence.old_declines:,} of {n:,} declines were issued more than {OLD_DAYS} days before"
        yield Flag(gate="old-cases", subject="declines", detail=detail)
    if n >= UNISSUED_FROM and evidence.unissued_declines > UNISSUED_SHARE * n:
        detail = f"{evidence.unissued_declines:,} of {n:,} declines are of detainers that were never sent as issued"
        yield Flag(gate="decline-without-issue", subject="declines", detail=detail)


def _standing(evidence: Evidence) -> Iterable[Flag]:
    if evidence.open_conflicts:
        detail = f"{evidence.open_conflicts:,} facts of this week have two contents under one version"
        yield Flag(gate="open-conflicts", subject="facts", detail=detail)
    for partition, reason in sorted(evidence.halted.items()):
        yield Flag(gate="halted-partition", subject=partition, detail=reason)
