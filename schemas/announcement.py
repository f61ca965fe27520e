"""The events on `report-ready`: a revision is published, or a week is final."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import rfc8785
from pydantic import Field

from schemas.envelope import Instant
from schemas.report import Change, JurisdictionRow, ReportModel, RevisionCause, Sha256, Totals

REPORT_NAMESPACE = uuid.UUID("5f0f4c8e-6d0b-5e0e-9f4e-0c8f6b7a2d17")
"""Namespace of report ids: uuid5 of this namespace and `week/revision`."""

MAX_ANNOUNCEMENT_BYTES = 900_000
"""Maximum size of a `report-ready` value. A larger one leaves out jurisdictions and changes; `links` has them."""


class ReportReadyData(ReportModel):
    """The report as announced on the topic. The links lead to the tables."""

    week_start: date
    week_end: date
    zone: str
    revision: int
    cause: RevisionCause
    demonstration: bool
    notes: list[str]
    totals: Totals
    top: list[JurisdictionRow]
    jurisdictions: list[JurisdictionRow] | None = Field(description="null if too large; see links.json.")
    figures_digest: Sha256
    digest: Sha256
    previous_digest: Sha256 | None
    offsets: dict[str, dict[str, int]]
    jurisdictions_with_policy: int | None = Field(
        None, description="Jurisdictions with a policy limiting detainers; links.json has them. null: no registry."
    )
    links: dict[str, str]
    changes: list[Change] | None = Field(description="null if too large; see links.json.")


class ReportFinalData(ReportModel):
    """The week is final: no further scheduled revisions. The last revision remains valid."""

    week_start: date
    revision: int = Field(description="The newest revision.")
    digest: Sha256 = Field(description="Digest of that revision.")


class _Announcement(ReportModel):
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
    """CloudEvent `report-final`, on the same topic: a week is final. Not covered by any digest."""

    type: Literal["report-final"] = "report-final"
    dataschema: str = "/schemas/report-final/1"
    data: ReportFinalData


def report_id(week: date, revision: int) -> str:
    """The id of the event that announces a revision. Deterministic, so that consumers can deduplicate."""
    return str(uuid.uuid5(REPORT_NAMESPACE, f"{week.isoformat()}/{revision}"))


def final_id(week: date) -> str:
    """The id of the event that announces that a week is final."""
    return str(uuid.uuid5(REPORT_NAMESPACE, f"{week.isoformat()}/final"))


def links(week: date, revision: int) -> dict[str, str]:
    """URLs of a revision by format, relative to the publisher."""
    return {form: f"/v1/reports/{week}/revisions/{revision}.{form}" for form in ("json", "csv", "html")}


def announcement(document: Mapping[str, Any], time: str) -> bytes:
    """The value of the `report-ready` record, as canonical JSON. `document`: see `Report.document`."""
    week, revision = date.fromisoformat(document["week_start"]), document["revision"]
    data = {name: document[name] for name in ReportReadyData.model_fields if name in document}
    data |= {"links": links(week, revision)}
    event = ReportReady.model_validate(
        {"id": report_id(week, revision), "subject": week.isoformat(), "time": time, "data": data}
    )
    envelope = event.model_dump(mode="json", exclude={"data"})
    value = rfc8785.dumps(envelope | {"data": data})
    if len(value) > MAX_ANNOUNCEMENT_BYTES:
        value = rfc8785.dumps(envelope | {"data": {**data, "jurisdictions": None, "changes": None}})
    return value


def final_notice(week: date, revision: int, digest: str, time: str) -> tuple[bytes, str]:
    """Value and id of the event `report-final`."""
    event_id = final_id(week)
    data = {"week_start": week, "revision": revision, "digest": digest}
    event = ReportFinal.model_validate({"id": event_id, "subject": week.isoformat(), "time": time, "data": data})
    return rfc8785.dumps(event.model_dump(mode="json")), event_id
