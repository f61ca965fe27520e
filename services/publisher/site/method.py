"""The words and figures of the page about the method: causes, gates, attestations, jurisdictions and terms. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.jurisdiction import JurisdictionKind, registry
from services.publisher.gates import Thresholds
from services.publisher.report import TOP

REVISION_CAUSES: Mapping[str, str] = {
    "initial": "The first report of the week.",
    "scheduled": "A later week closed while this week was provisional, and a figure of this week had changed.",
    "correction": "An operator requested it. The report has the reason.",
}
"""Each value of `cause` in a report."""

CHANGE_CAUSES: Mapping[str, str] = {
    "late": "The first event about a detainer arrived after the earlier revision.",
    "redriven": "A record that was first rejected was sent again, after its cause was corrected.",
    "withdrawn": "The agency withdrew a detainer or a decline that the earlier revision counted.",
    "reassigned": "A newer version moved a detainer to another week or another jurisdiction.",
    "amended": "A newer version restored a detainer that had been withdrawn.",
}
"""Each key of `causes` in a change of a report."""

ATTESTATIONS: Mapping[str, str] = {
    "attested": "The agency's own count equals the count here.",
    "differing": "The two counts differ. The report shows the difference.",
    "heard": "The agency sent events and no count of its own.",
    "silent": "The agency sent neither. Its numbers are unknown, not 0.",
}
"""Each status of an agency in a report."""


def gates(limits: Thresholds) -> Mapping[str, str]:
    """Each gate of a report with the finding that holds a week, at these limits."""
    return {
        "spike": f"An agency has at least {limits.spike_from:,} declines, and more than {limits.spike_factor:,} times"
        " its median week.",
        "old-cases": f"Of at least {limits.old_from:,} declines, more than {limits.old_percent:,} percent are of"
        f" detainers issued more than {limits.old_days:,} days before.",
        "decline-without-issue": f"Of at least {limits.unissued_from:,} declines, more than"
        f" {limits.unissued_percent:,} percent are of detainers that no agency sent as issued.",
        "open-conflicts": "An agency sent two different contents under one version of a fact.",
        "halted-partition": "A part of the log is not read until an operator has looked at it.",
    }


TERMS: Mapping[str, str] = {
    "agency": "A sender of events. Each has a scope: the kinds and jurisdictions for which it may send.",
    "attestation": "An agency's own count of a week. It is shown beside the counted figures and never changes them.",
    "cohort": "The detainers that a figure counts. The detainers issued in a week and those declined in it are two"
    " different cohorts.",
    "declined": "A jurisdiction did not honor a detainer. It counts in the week in which the decline was recorded.",
    "detainer": "A request by a federal agency that a local jail hold a person, or notify the agency of a release.",
    "digest": "A checksum (SHA-256). Two documents with the same digest have the same content.",
    "edition": "A Census year of the list of jurisdictions.",
    "fact": "What an agency states about one detainer, at one version.",
    "final": "Status of a week without further scheduled revisions.",
    "flag": "A finding of a gate, published with the report.",
    "gate": "A check for findings that a person should look at before a week is published.",
    "issued": "A federal agency requested that a jail hold a person. It counts in the week of its issue.",
    "jurisdiction": "The authority that has custody and honors or declines: a county, a state, a tribe, or federal"
    " custody. Identified by a code, never by its name.",
    "policy limiting detainers": "A published rule of a jurisdiction with criteria for honoring a detainer. It is"
    " listed in reports and is never a figure.",
    "provisional": "Status of a week that still gets scheduled revisions.",
    "revision": "A published version of one week's report, numbered from 1. A revision never changes.",
    "unknown": "No number, because an agency responsible for the jurisdiction sent neither events nor an attestation,"
    " or no agency is responsible.",
    "version": "The number that an agency gives to a fact. The highest version counts, in any order of arrival.",
    "week": "Seven days in the reporting zone, named by the first of them.",
    "withdrawn": "A fact that its agency took back. It is stored, and is in no count.",
}
"""The terms of the pages, for readers. docs/glossary.md has all terms."""


def described() -> dict[str, Any]:
    """Everything on the page that does not depend on settings."""
    places = list(registry())
    return {
        "revision_causes": REVISION_CAUSES,
        "change_causes": CHANGE_CAUSES,
        "attestations": ATTESTATIONS,
        "gates": gates(Thresholds()),
        "terms": TERMS,
        "top": TOP,
        "jurisdictions": {kind.value: sum(one.kind is kind for one in places) for kind in JurisdictionKind},
        "editions": sorted({edition for one in places for edition in one.editions}),
    }
