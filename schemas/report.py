"""The finished report of one week: the document, its digests, and the event that announces it.

Integers and strings only (and true, false, null): a digest over canonical JSON (RFC 8785) must not depend on how
anybody prints a fraction. An unknown number is null, never 0.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import date
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from schemas.envelope import Instant

REPORT_NAMESPACE = uuid.UUID("5f0f4c8e-6d0b-5e0e-9f4e-0c8f6b7a2d17")
"""Namespace of report ids: uuid5 of it and `week/revision`."""

MAX_EVENT_BYTES = 900_000
"""A `report-ready` value is never larger; beyond it the jurisdictions are given by link."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Cause = Literal["initial", "scheduled", "correction"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Totals(_Part):
    """Two different cohorts: a decline counts in the week it was recorded, whenever it was issued. Never a rate."""

    issued: int
    declined: int


class JurisdictionRow(_Part):
    """One jurisdiction's week. null: an agency that answers for it was not heard and attested nothing."""

    geoid: str
    name: str
    state: str
    issued: int | None
    declined: int | None


class TableRow(_Part):
    """One row of a national one-way table."""

    code: str
    name: str
    n: int


class OffenseRow(_Part):
    """Declines of persons with this offense; a person may have several."""

    category: str
    name: str
    basis: Literal["charged", "convicted"]
    n: int


class Tables(_Part):
    """National one-way tables of the week's declines, and of the forms of what was issued."""

    offenses: list[OffenseRow]
    offenses_not_known: int = Field(description="Declines that do not say whether there were offenses.")
    offenses_none_recorded: int
    citizenship: list[TableRow]
    reasons: list[TableRow]
    forms: list[TableRow]
    requests_for_notification: int = Field(description="Of the issued: asked to be told of a release, not to hold.")


class LineList(_Part):
    """A list of the week's declines, kept beside the report. Its digest stands for it if it is withdrawn."""

    mode: Literal["coarse", "full"]
    sha256: Sha256 = Field(description="Digest of the list's canonical JSON.")
    legal_basis: str | None = Field(description="Of a full list: the law that asks for it.")


class AgencyScope(_Part):
    """What was counted of an agency that may send in this week, against what it attested."""

    agency: str
    status: Literal["attested", "differing", "heard", "silent"] = Field(
        description="attested: its own count is ours. differing: it is not. heard: facts came, no count. silent: none."
    )
    issued: int
    declined: int
    attested_issued: int | None = Field(description="How many it says there are; null when it attests none.")
    attested_declined: int | None
    missing_issued: int | None = Field(description="Attested less counted; null when it attests none.")
    missing_declined: int | None


class Scope(_Part):
    """What the figures rest on."""

    agencies: list[AgencyScope]
    withdrawn: int = Field(description="Facts of this week that are withdrawn and not counted.")
    late: int = Field(0, description="Detainers counted here of which the week's first report knew nothing.")
    rejected_records: int = Field(description="Records of all time, up to the offsets, that were no events.")
    oldest_decline_issued_on: date | None = Field(description="UTC date on which the oldest of them was issued.")
    longest_issue_to_record_days: int | None
    declines_with_one_instant: int = Field(
        description="Declines whose issued, declined and recorded instants are equal: the source gave one date."
    )
    counters_equal_ledger: Literal[True]


class Flag(_Part):
    """What a gate found and a person should know."""

    gate: str
    subject: str
    detail: str


class SignOff(_Part):
    """Who released a week that a gate held, and with which words."""

    by: str
    at: Instant
    note: str


class Change(_Part):
    """One cell's old and new number, and by how much each cause changed it; the causes sum to the difference."""

    geoid: str
    kind: Literal["issued", "declined"]
    old: int | None
    new: int | None
    causes: dict[str, int]


class TableChange(_Part):
    """One row of a national table that differs from the former revision."""

    table: str
    row: str
    old: int
    new: int


class Figures(_Part):
    """What was counted. `figures_digest` covers exactly this."""

    totals: Totals
    top: list[JurisdictionRow] = Field(description="The ten with most declines.")
    top_declined: int
    tied_at_tenth: int = Field(description="Further jurisdictions with as many declines as the tenth.")
    jurisdictions: list[JurisdictionRow]
    tables: Tables
    line_list: LineList | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the parts, so that one part can be withheld and the rest still be proven."""
        document = self.model_dump(mode="json")
        parts = {
            "totals": document["totals"],
            "jurisdictions": document["jurisdictions"],
            "top": [document["top"], document["top_declined"], document["tied_at_tenth"]],
            "tables": document["tables"],
        }
        digests = {name: sha256_of(part) for name, part in parts.items()}
        if self.line_list is not None:
            digests["line_list"] = self.line_list.sha256
        return sha256_of(digests)


class Report(Figures):
    """The whole document of one revision, as it is kept, served and proven."""

    week_start: date
    week_end: date = Field(description="The last day that belongs to the week.")
    zone: str
    revision: Annotated[int, Field(ge=1)]
    cause: Cause
    demonstration: bool
    notes: list[str]
    scope: Scope
    flags: list[Flag] = Field(description="What gates found.")
    sign_offs: list[SignOff]
    reason: str | None = Field(description="Why an operator asked for this revision.")
    changes: list[Change] = Field(description="Against the former revision of this week.")
    table_changes: list[TableChange]
    retractions: int = Field(description="Facts that the former revision counted and that were withdrawn since.")
    offsets: dict[str, dict[str, int]] = Field(description="The vector: topic, partition, next offset.")
    inputs: dict[str, Sha256] = Field(description="What was used besides the log, by digest.")
    figures_digest: Sha256
    previous_digest: Sha256 | None = Field(description="Digest of the report written before this one, of any week.")

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the whole document."""
        return sha256_of(self.model_dump(mode="json"))


class ReportReadyData(_Part):
    """What the topic says of a finished report; the tables are behind the links."""

    week_start: date
    week_end: date
    zone: str
    revision: int
    cause: Cause
    demonstration: bool
    notes: list[str]
    totals: Totals
    top: list[JurisdictionRow]
    jurisdictions: list[JurisdictionRow] | None = Field(description="null when too many: see links.json")
    figures_digest: Sha256
    digest: Sha256
    previous_digest: Sha256 | None
    offsets: dict[str, dict[str, int]]
    links: dict[str, str]
    changes: list[Change] | None = Field(description="null when too many: see links.json")


class ReportFinalData(_Part):
    """The week will not be restated by itself any more; its last revision stands."""

    week_start: date
    revision: int = Field(description="The newest revision.")
    digest: Sha256 = Field(description="Its digest.")


class _Announcement(_Part):
    specversion: Literal["1.0"] = "1.0"
    id: str
    source: Literal["/publisher"] = "/publisher"
    subject: str
    time: Instant
    datacontenttype: Literal["application/json"] = "application/json"


class ReportReady(_Announcement):
    """CloudEvent `report-ready`: a revision is published."""

    type: Literal["report-ready"] = "report-ready"
    dataschema: str = "/schemas/report-ready/1"
    data: ReportReadyData


class ReportFinal(_Announcement):
    """CloudEvent `report-final`, on the same topic: a week is final. No part of any digest."""

    type: Literal["report-final"] = "report-final"
    dataschema: str = "/schemas/report-final/1"
    data: ReportFinalData


def sha256_of(value: Any) -> str:  # any JSON value
    """SHA-256, in hex, of the canonical JSON (RFC 8785) of `value`."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def report_id(week: date, revision: int) -> str:
    """The id of the event that announces a revision: the same whoever sends it, however often."""
    return str(uuid.uuid5(REPORT_NAMESPACE, f"{week.isoformat()}/{revision}"))


def links(week: date, revision: int) -> dict[str, str]:
    """Where a revision is served, by format; relative to the publisher."""
    return {form: f"/v1/reports/{week}/revisions/{revision}.{form}" for form in ("json", "csv", "html")}


def announcement(report: Report, digest: str, time: str) -> bytes:
    """The value of the `report-ready` record, canonical JSON. `digest` is the report's: it is slow to make twice."""
    kept = report.model_dump(mode="json", include=set(ReportReadyData.model_fields) & set(Report.model_fields))
    event: dict[str, Any] = {
        "id": report_id(report.week_start, report.revision),
        "subject": report.week_start.isoformat(),
        "time": time,
        "data": kept | {"digest": digest, "links": links(report.week_start, report.revision)},
    }
    value = _canonical(event)
    if len(value) > MAX_EVENT_BYTES:
        value = _canonical(event | {"data": {**event["data"], "jurisdictions": None, "changes": None}})
    return value


def final_notice(week: date, revision: int, digest: str, time: str) -> tuple[bytes, str]:
    """Value and id of the event that says that a week is final."""
    event_id = str(uuid.uuid5(REPORT_NAMESPACE, f"{week.isoformat()}/final"))
    data = {"week_start": week, "revision": revision, "digest": digest}
    event = {"id": event_id, "subject": week.isoformat(), "time": time, "data": data}
    return _canonical(event, ReportFinal), event_id


def _canonical(event: dict[str, Any], model: type[_Announcement] = ReportReady) -> bytes:
    return rfc8785.dumps(model.model_validate(event).model_dump(mode="json"))
