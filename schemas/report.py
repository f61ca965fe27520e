"""The report of one week: the document, its digests, and the event that announces it.

A report contains only integers, strings, booleans and null: the digest over canonical JSON (RFC 8785) must not depend
on the formatting of fractions. An unknown number is null, never 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from schemas.envelope import Instant

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RevisionCause = Literal["initial", "scheduled", "correction"]


class ReportModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Totals(ReportModel):
    """Two different cohorts: a decline counts in the week it was recorded, whenever it was issued. Not a rate."""

    issued: int
    declined: int


class JurisdictionRow(ReportModel):
    """One jurisdiction's week. null: an agency responsible for it sent no events and no attestation."""

    geoid: str
    name: str
    state: str
    issued: int | None
    declined: int | None


class TableRow(ReportModel):
    """One row of a national one-way table."""

    code: str
    name: str
    n: int


class OffenseRow(ReportModel):
    """Declines of persons with this offense. A person may have several offenses."""

    category: str
    name: str
    basis: Literal["charged", "convicted"]
    n: int


class Tables(ReportModel):
    """National one-way tables: the week's declines, and the forms of the issued detainers."""

    offenses: list[OffenseRow]
    offenses_not_known: int = Field(description="Declines without the field offenses.")
    offenses_none_recorded: int
    citizenship: list[TableRow]
    reasons: list[TableRow]
    forms: list[TableRow]
    requests_for_notification: int = Field(description="Issued requests to be notified of a release, not to hold.")


class LineList(ReportModel):
    """The line list of the week's declines, stored next to the report. If it is withdrawn, its digest remains."""

    mode: Literal["coarse", "full"]
    sha256: Sha256 = Field(description="SHA-256 of the list's canonical JSON.")
    legal_basis: str | None = Field(description="For a full list: the law that requires it.")


class PolicyCode(ReportModel):
    """A criterion for honoring a request."""

    code: str
    name: str


class Policy(ReportModel):
    """A policy limiting detainers that was valid on the last day of the week, from the registry of such policies."""

    geoid: str
    name: str
    state: str
    enacted: str = Field(
        pattern=r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$",
        description="The date on which it was enacted, or the month if the day is not known.",
    )
    since: date = Field(description="First day on which it is valid.")
    until: date | None = Field(description="Last day on which it is valid; null if it has no end.")
    honored: list[PolicyCode] = Field(
        description="Criteria for honoring a request. Whether all or any of them are required is in the source."
    )
    source: str = Field(pattern=r"^https://", description="URL of the policy, or of a publication that describes it.")


class AgencyScope(ReportModel):
    """Counted and attested figures of an agency that is registered for this week."""

    agency: str
    status: Literal["attested", "differing", "heard", "silent"] = Field(
        description="attested: its own count is equal. differing: it is not. heard: only events. silent: nothing."
    )
    issued: int
    declined: int
    attested_issued: int | None = Field(description="The agency's own count; null without attestation.")
    attested_declined: int | None
    missing_issued: int | None = Field(description="Attested minus counted; null without attestation.")
    missing_declined: int | None


class Scope(ReportModel):
    """The data that the figures are based on."""

    agencies: list[AgencyScope]
    withdrawn: int = Field(description="Withdrawn facts of this week; not counted.")
    late: int = Field(0, description="Detainers counted here that the week's first report did not contain.")
    rejected_records: int = Field(description="Invalid records of all time, up to the offsets.")
    oldest_decline_issued_on: date | None = Field(description="UTC date of issue of the oldest declined detainer.")
    longest_issue_to_record_days: int | None
    declines_with_one_instant: int = Field(
        description="Declines whose issued, declined and recorded instants are equal: the source had one date."
    )
    counters_equal_ledger: Literal[True]
    audited_at: datetime | None = Field(
        None, description="UTC time of the last audit, which proved the counters of all weeks; null if there was none."
    )


class Flag(ReportModel):
    """A finding of a gate, for people to review."""

    gate: str
    subject: str
    detail: str


class SignOff(ReportModel):
    """The release of a week that a gate held: who, when, and the note."""

    by: str
    at: Instant
    note: str


class Change(ReportModel):
    """One cell's old and new number, and the change by each cause. The causes add up to the difference."""

    geoid: str
    kind: Literal["issued", "declined"]
    old: int | None
    new: int | None
    causes: dict[str, int]


class TableChange(ReportModel):
    """One row of a national table that differs from the previous revision."""

    table: str
    row: str
    old: int
    new: int


class Figures(ReportModel):
    """The counted figures. `figures_digest` covers exactly these fields."""

    totals: Totals
    top: list[JurisdictionRow] = Field(description="The ten jurisdictions with the most declines.")
    top_declined: int
    tied_at_tenth: int = Field(description="Further jurisdictions with as many declines as the tenth.")
    jurisdictions: list[JurisdictionRow]
    tables: Tables
    line_list: LineList | None = None

    @property
    def digest(self) -> str:
        """The digest of the figures, see `figures_digest`. Computed on each access."""
        return figures_digest(self.model_dump(mode="json"))


class Report(Figures):
    """The complete document of one revision, as stored, served and verified."""

    week_start: date
    week_end: date = Field(description="Last day of the week.")
    zone: str
    revision: Annotated[int, Field(ge=1)]
    cause: RevisionCause
    demonstration: bool
    notes: list[str]
    scope: Scope
    flags: list[Flag] = Field(description="Findings of the gates.")
    sign_offs: list[SignOff]
    reason: str | None = Field(description="The operator's reason for this revision, if one requested it.")
    changes: list[Change] = Field(description="Changes since the previous revision of this week.")
    table_changes: list[TableChange]
    retractions: int = Field(description="Facts in the previous revision that have been withdrawn since.")
    offsets: dict[str, dict[str, int]] = Field(description="The vector: topic, partition, next offset.")
    jurisdictions_with_policy: int | None = Field(
        None, description="Jurisdictions with a policy limiting detainers; null if no registry was loaded."
    )
    policies: list[Policy] | None = Field(None, description="These policies; null if no registry was loaded.")
    inputs: dict[str, Sha256] = Field(description="Inputs other than the log, by digest.")
    figures_digest: Sha256
    previous_digest: Sha256 | None = Field(description="Digest of the report written before this one, of any week.")

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the whole document. Computed on each access."""
        return sha256_of(self.model_dump(mode="json"))

    def document(self, figures: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON form with its `digest`, as it is stored, announced and served. Computed on each call.

        `figures`: the JSON form of the figures, if the caller has it. Then only the other fields are serialized.
        """
        if figures is None:
            figures = self.model_dump(mode="json", include=set(Figures.model_fields))
        body = {**figures, **self.model_dump(mode="json", exclude=set(Figures.model_fields))}
        return body | {"digest": sha256_of(body)}


def sha256_of(value: Any) -> str:  # any JSON value
    """SHA-256, in hex, of the canonical JSON (RFC 8785) of `value`."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def figures_digest(figures: Mapping[str, Any]) -> str:
    """SHA-256 over the digests of the parts of `figures` (JSON form). Each part can be proven without the others."""
    parts = {
        "totals": figures["totals"],
        "jurisdictions": figures["jurisdictions"],
        "top": [figures["top"], figures["top_declined"], figures["tied_at_tenth"]],
        "tables": figures["tables"],
    }
    digests = {name: sha256_of(part) for name, part in parts.items()}
    if figures["line_list"] is not None:
        digests["line_list"] = figures["line_list"]["sha256"]
    return sha256_of(digests)
