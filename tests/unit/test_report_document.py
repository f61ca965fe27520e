"""schemas.report: the digests of a report and its announcement."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from schemas.announcement import MAX_ANNOUNCEMENT_BYTES, announcement, final_notice, links, report_id
from schemas.export import documents
from schemas.report import Figures, Report, sha256_of
from tests.unit.sample_reports import Declined, report, snapshot

TIME = "2017-02-05T05:00:00+00:00"
REPORT = report(
    snapshot(
        {"32003": 118, "36059": 44},
        {"32003": 51, "36059": 38},
        forms={"I-247D": 160, "I-247N": 2},
        declines=[Declined(["90D:charged", "13A:convicted"]), Declined(None), Declined([])],
    )
)


def changed(document: Report, path: str, value: object) -> Report:
    """The report with the member at a dotted path replaced."""
    members: Any = document.model_dump(mode="json")
    parent = members
    *parents, last = path.split(".")
    for name in parents:
        parent = parent[int(name)] if isinstance(parent, list) else parent[name]
    assert parent[last] != value
    parent[last] = value
    return Report.model_validate(members)


def test_a_digest_is_over_canonical_json() -> None:
    """RFC 8785: members sorted, no white space, UTF-8."""
    canonical = '{"a":[1,null,true],"b":"é"}'
    assert sha256_of({"b": "é", "a": [1, None, True]}) == hashlib.sha256(canonical.encode()).hexdigest()


FIGURES = {
    "totals.issued": 161,
    "totals.declined": 90,
    "jurisdictions.0.issued": 117,
    "jurisdictions.1.declined": None,
    "jurisdictions.1.name": "Nassau",
    "top.0.declined": 50,
    "top_declined": 88,
    "tied_at_tenth": 1,
    "tables.offenses.0.n": 2,
    "tables.offenses_not_known": 0,
    "tables.offenses_none_recorded": 0,
    "tables.citizenship.0.n": 4,
    "tables.reasons.0.code": "capacity",
    "tables.forms.1.n": 3,
    "tables.requests_for_notification": 3,
}


@pytest.mark.parametrize("path", FIGURES)
def test_both_digests_change_with_any_figure(path: str) -> None:
    other = changed(REPORT, path, FIGURES[path])
    assert _figures_digest(other) != _figures_digest(REPORT)
    assert other.digest != REPORT.digest


REST = {
    "revision": 2,
    "cause": "correction",
    "week_start": "2017-02-04",
    "zone": "UTC",
    "demonstration": True,
    "notes": ["Demonstration."],
    "offsets": {"detainer-issued": {"0": 8}},
    "inputs": {"rules": "0" * 64},
    "previous_digest": "f" * 64,
    "scope.withdrawn": 1,
    "scope.late": 1,
    "scope.rejected_records": 1,
    "flags": [{"gate": "spike", "subject": "a", "detail": "b"}],
    "sign_offs": [{"by": "Ada", "at": "2017-02-05T05:00:00Z", "note": "looked at"}],
    "reason": "a court asked",
    "changes": [{"geoid": "32003", "kind": "issued", "old": 1, "new": 2, "causes": {"late": 1}}],
    "table_changes": [{"table": "reasons", "row": "", "old": 1, "new": 2}],
    "retractions": 1,
}


@pytest.mark.parametrize("path", REST)
def test_the_figures_digest_covers_the_figures_only(path: str) -> None:
    other = changed(REPORT, path, REST[path])
    assert _figures_digest(other) == _figures_digest(REPORT)
    assert other.digest != REPORT.digest


def _figures_digest(document: Report) -> str:
    return Figures.model_validate({name: getattr(document, name) for name in Figures.model_fields}).digest


def test_a_report_states_the_digest_of_its_own_figures() -> None:
    assert REPORT.figures_digest == _figures_digest(REPORT)


def test_the_chain_can_be_checked_without_a_withheld_part() -> None:
    parts = REPORT.model_dump(mode="json")
    digests = {name: sha256_of(parts[name]) for name in ("totals", "jurisdictions", "tables")}
    digests["top"] = sha256_of([parts["top"], parts["top_declined"], parts["tied_at_tenth"]])
    assert sha256_of(digests) == REPORT.figures_digest


def test_a_document_contains_no_fractions() -> None:
    def fractions(value: object) -> list[object]:
        if isinstance(value, dict | list):
            return [found for one in (value.values() if isinstance(value, dict) else value) for found in fractions(one)]
        return [value] if isinstance(value, float) else []

    assert fractions(REPORT.model_dump(mode="json")) == []


def test_an_id_belongs_to_one_week_and_revision() -> None:
    week = date(2017, 1, 28)
    assert report_id(week, 1) == "4b8f73ad-a68e-58d0-9e76-ee36ecb3570e"
    assert len({report_id(week, 1), report_id(week, 2), report_id(date(2017, 2, 4), 1)}) == 3


def test_the_announcement_of_a_report_is_always_the_same_bytes() -> None:
    again = Report.model_validate_json(REPORT.model_dump_json())
    assert announcement(again.document(), TIME) == announcement(REPORT.document(), TIME)
    assert announcement(REPORT.document(), TIME) == announcement(REPORT.document(), "2017-02-05T00:00:00-05:00")


def test_the_announcement_is_a_cloud_event_to_others() -> None:
    value = announcement(REPORT.document(), TIME)
    headers = {"content-type": b"application/cloudevents+json; charset=UTF-8"}
    event = from_structured_event(KafkaMessage(headers, b"2017-01-28", value), JSONFormat())
    assert event.get_type() == "report-ready"
    assert event.get_source() == "/publisher"
    assert event.get_subject() == "2017-01-28"
    assert event.get_id() == report_id(REPORT.week_start, 1)
    assert event.get_specversion() == "1.0"
    assert event.get_time() is not None
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["totals"] == {"issued": 162, "declined": 89}
    assert data["digest"] == REPORT.digest
    assert data["links"] == links(REPORT.week_start, 1)


def test_the_announcement_has_the_figures_and_no_line_list() -> None:
    data = json.loads(announcement(REPORT.document(), TIME))["data"]
    assert data["jurisdictions"][0] == {
        "geoid": "32003",
        "name": "Clark County",
        "state": "NV",
        "issued": 118,
        "declined": 51,
    }
    assert (data["week_start"], data["week_end"], data["revision"]) == ("2017-01-28", "2017-02-03", 1)
    assert "tables" not in data


def test_a_report_too_large_for_a_record_links_its_jurisdictions() -> None:
    row = REPORT.jurisdictions[0]
    giant = REPORT.model_copy(update={"jurisdictions": [row.model_copy(update={"name": "x" * 300})] * 4_000})
    value = announcement(giant.document(), TIME)
    assert len(value) < MAX_ANNOUNCEMENT_BYTES
    data = json.loads(value)["data"]
    assert data["jurisdictions"] is None
    assert data["links"]["json"] == "/v1/reports/2017-01-28/revisions/1.json"
    assert data["digest"] == giant.digest
    assert data["totals"] == {"issued": 162, "declined": 89}


def test_the_notice_that_a_week_is_final_is_an_event_of_its_own() -> None:
    value, event_id = final_notice(REPORT.week_start, 3, REPORT.digest, TIME)
    event = json.loads(value)
    Draft202012Validator(documents()["report-final"]).validate(event)
    assert (event["type"], event["subject"], event["id"]) == ("report-final", "2017-01-28", event_id)
    assert event["data"] == {"week_start": "2017-01-28", "revision": 3, "digest": REPORT.digest}
    assert event_id not in {report_id(REPORT.week_start, revision) for revision in range(1, 9)}
    assert final_notice(REPORT.week_start, 3, REPORT.digest, TIME) == (value, event_id)
    assert list(Draft202012Validator(documents()["report-ready"]).iter_errors(event)), "it is not a revision"


def test_the_announcement_and_the_document_are_valid_under_their_schemas() -> None:
    schemas = documents()
    Draft202012Validator(schemas["report-ready"]).validate(json.loads(announcement(REPORT.document(), TIME)))
    served = REPORT.model_dump(mode="json") | {"digest": REPORT.digest}
    Draft202012Validator(schemas["report"]).validate(served)


def test_a_document_from_serialized_figures_is_the_same() -> None:
    figures = Figures.model_validate(REPORT.model_dump(include=set(Figures.model_fields))).model_dump(mode="json")
    assert REPORT.document(figures) == REPORT.document() == REPORT.model_dump(mode="json") | {"digest": REPORT.digest}
