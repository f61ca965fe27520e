"""What may hold a week before it is published: findings that a person should look at. Pure.

They refuse nothing. A week that a gate holds goes out when an operator releases it, or flagged when its deadline has
passed. That counters equal the ledger is no gate: without it there is no report at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from schemas.report import Flag

OF_THE_LOG = frozenset({"old-cases", "decline-without-issue", "open-conflicts"})
"""Gates whose findings follow from the log alone; the others look at earlier reports, or at what stands still."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on there is a finding. An input of the report: what was found years ago is judged by the rule of then.

    A week of an agency is a spike when it has at least `spike_from` declines and more than `spike_factor` times its
    median week (as the one-day batch of old cases that made one county 142 of 206 in 2017). Old cases: more than
    `old_percent` of at least `old_from` declines are of detainers issued more than `old_days` before. Declines without
    an issue: more than `unissued_percent` of at least `unissued_from` are of detainers that nobody sent as issued.
    """

    spike_from: int = 50
    spike_factor: int = 5
    old_from: int = 20
    old_percent: int = 50
    old_days: int = 180
    unissued_from: int = 20
    unissued_percent: int = 20


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


def flags(evidence: Evidence, limits: Thresholds) -> list[Flag]:
    """All findings, in a fixed order."""
    return [*_spikes(evidence, limits), *_shares(evidence, limits), *_standing(evidence)]


def _spikes(evidence: Evidence, limits: Thresholds) -> Iterable[Flag]:
    for agency, count in sorted(evidence.by_agency.items()):
        before = evidence.weeks_before.get(agency, ())
        if count >= limits.spike_from and before and count > limits.spike_factor * median(before):
            usual = round(median(before))
            yield Flag(gate="spike", subject=agency, detail=f"{count:,} declines; its median week has {usual:,}")


def _shares(evidence: Evidence, limits: Thresholds) -> Iterable[Flag]:
    n = evidence.declines
    if n >= limits.old_from and 100 * evidence.old_declines > limits.old_percent * n:
        detail = f"{evidence.old_declines:,} of {n:,} declines were issued more than {limits.old_days} days before"
        yield Flag(gate="old-cases", subject="declines", detail=detail)
    if n >= limits.unissued_from and 100 * evidence.unissued_declines > limits.unissued_percent * n:
        detail = f"{evidence.unissued_declines:,} of {n:,} declines are of detainers that were never sent as issued"
        yield Flag(gate="decline-without-issue", subject="declines", detail=detail)


def _standing(evidence: Evidence) -> Iterable[Flag]:
    if evidence.open_conflicts:
        detail = f"{evidence.open_conflicts:,} facts of this week have two contents under one version"
        yield Flag(gate="open-conflicts", subject="facts", detail=detail)
    for partition, reason in sorted(evidence.halted.items()):
        yield Flag(gate="halted-partition", subject=partition, detail=reason)
