"""Gates: checks that hold a week for review before it is published. Pure.

A gate never prevents publication. A held week is published when an operator releases it or when its deadline passes,
with the findings as flags. The proof that counters equal the ledger is not a gate: without it no report is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from schemas.log import Partition
from schemas.report import Flag

OF_THE_LOG = frozenset({"old-cases", "decline-without-issue", "open-conflicts"})
"""Gates that depend on the log alone. The others also use earlier reports or the halted partitions."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits above which a gate has a finding. They are an input of the report, so a replay uses the same limits.

    - Spike: an agency has at least `spike_from` declines and more than `spike_factor` times its median week. In 2017, a
      one-day batch of old cases made one county 142 of 206.
    - Old cases: of at least `old_from` declines, more than `old_percent` are of detainers issued more than `old_days`
      days earlier.
    - Declines without an issue: of at least `unissued_from` declines, more than `unissued_percent` are of detainers
      without a `detainer-issued` event.
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
    """The input of the gates. Counts are of declines in the week that is closing."""

    declines: int
    old_declines: int
    unissued_declines: int
    open_conflicts: int
    halted: Mapping[Partition, str]
    by_agency: Mapping[str, int]
    weeks_before: Mapping[str, Sequence[int]]


def flags(evidence: Evidence, limits: Thresholds) -> list[Flag]:
    """All findings, in a fixed order."""
    return [*_spikes(evidence, limits), *_shares(evidence, limits), *_unresolved(evidence)]


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


def _unresolved(evidence: Evidence) -> Iterable[Flag]:
    if evidence.open_conflicts:
        detail = f"{evidence.open_conflicts:,} facts of this week have two contents under one version"
        yield Flag(gate="open-conflicts", subject="facts", detail=detail)
    for partition, reason in sorted((str(partition), reason) for partition, reason in evidence.halted.items()):
        yield Flag(gate="halted-partition", subject=partition, detail=reason)
