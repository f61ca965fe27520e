"""services.publisher.policy_registry: the registry as an input, and the policies in a report."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from schemas.announcement import ReportReady, announcement
from schemas.report import Report
from services.publisher import policy_registry
from services.publisher import report as reporting
from services.publisher.inputs import JURISDICTION_POLICIES, ReportInputs
from services.publisher.policy_registry import ListedPolicy, PolicyRegistry
from services.publisher.site.rendering import as_csv, as_html
from tests.unit.sample_reports import WEEK, report, report_inputs, snapshot

TRAVIS = ListedPolicy(
    "48453", "2017-01", date(2017, 2, 1), date(2018, 6, 30), ("judicial-warrant",), "https://example.org/travis"
)
CALIFORNIA = ListedPolicy("06", "2013-10-05", date(2014, 1, 1), None, ("none",), "https://example.org/?a=1&b=2")
SEEN = snapshot({"48453": 5}, {"48453": 2})


def inputs(*policies: ListedPolicy) -> ReportInputs:
    return report_inputs().with_policies(policy_registry.content(policies))


def made(*policies: ListedPolicy) -> Report:
    return report(SEEN, inputs(*policies))


def listed(*policies: ListedPolicy) -> list[str]:
    return [one.geoid for one in made(*policies).policies or ()]


def test_the_content_is_that_of_the_set_and_is_read_back() -> None:
    content = policy_registry.content([TRAVIS, CALIFORNIA])
    assert content == policy_registry.content([CALIFORNIA, TRAVIS])
    codes = {"judicial-warrant": "A judicial warrant or court order", "none": "No request is honored"}
    assert policy_registry.read(content) == PolicyRegistry(codes, (CALIFORNIA, TRAVIS))


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "is_listed"),
    [
        (date(2017, 2, 3), None, True),
        (date(2017, 2, 4), None, False),
        (date(2017, 1, 1), date(2017, 2, 2), False),
        (date(2017, 1, 1), date(2017, 2, 3), True),
        (date(2017, 2, 3), date(2017, 2, 3), True),
    ],
)
def test_a_report_lists_the_policies_valid_on_the_last_day_of_its_week(
    valid_from: date, valid_to: date | None, is_listed: bool
) -> None:
    assert date(2017, 2, 3) == WEEK.last
    assert bool(listed(replace(TRAVIS, valid_from=valid_from, valid_to=valid_to))) == is_listed


def test_of_a_jurisdiction_at_most_one_policy_is_listed_and_a_state_is_not_its_counties() -> None:
    before = replace(TRAVIS, enacted="2016-01", valid_from=date(2016, 1, 1), valid_to=date(2017, 1, 31))
    assert listed(before, TRAVIS, CALIFORNIA, replace(CALIFORNIA, jurisdiction="48")) == ["06", "48", "48453"]


def test_the_document_has_the_policies_their_number_and_the_digest_of_the_registry() -> None:
    document = made(TRAVIS, CALIFORNIA).document()
    assert document["jurisdictions_with_policy"] == 2
    assert document["policies"][1] == {
        "geoid": "48453",
        "name": "Travis County",
        "state": "TX",
        "enacted": "2017-01",
        "since": "2017-02-01",
        "until": "2018-06-30",
        "honored": [{"code": "judicial-warrant", "name": "A judicial warrant or court order"}],
        "source": "https://example.org/travis",
    }
    assert document["inputs"][JURISDICTION_POLICIES] == inputs(TRAVIS, CALIFORNIA).digests[JURISDICTION_POLICIES]


def test_without_a_registry_the_report_says_so_and_an_empty_one_is_not_the_same() -> None:
    document = report(SEEN).document()
    assert (document["jurisdictions_with_policy"], document["policies"]) == (None, None)
    assert JURISDICTION_POLICIES not in document["inputs"]
    assert made(replace(TRAVIS, valid_from=date(2018, 1, 1))).policies == []


def test_the_registry_is_no_figure() -> None:
    """So a changed registry makes no revision, and readers compute the figures digest as before."""
    without, with_one = report(SEEN), made(TRAVIS)
    assert without.figures_digest == with_one.figures_digest
    assert without.digest != with_one.digest
    drafts = [reporting.draft(WEEK, SEEN, used) for used in (report_inputs(), inputs(TRAVIS), inputs(CALIFORNIA))]
    assert len({one.digest for one in drafts}) == 1


def test_the_announcement_has_the_number_alone() -> None:
    value = announcement(made(TRAVIS, CALIFORNIA).document(), "2017-02-05T05:00:00Z")
    data = json.loads(value)["data"]
    assert data["jurisdictions_with_policy"] == 2
    assert b"example.org" not in value
    older = json.loads(value)
    del older["data"]["jurisdictions_with_policy"]
    assert ReportReady.model_validate(older).data.jurisdictions_with_policy is None


def test_a_document_of_an_earlier_version_is_still_a_report() -> None:
    document = report(SEEN).model_dump(mode="json", exclude={"policies", "jurisdictions_with_policy"})
    assert Report.model_validate(document).policies is None
    assert b"Section III" not in as_html(document | {"digest": "0" * 64})


def test_the_page_has_a_table_and_the_csv_has_not() -> None:
    document = made(TRAVIS, CALIFORNIA).document()
    page = as_html(document).decode()
    assert "Section III: policies limiting detainers" in page
    assert '<a href="https://example.org/?a=1&amp;b=2" rel="nofollow noopener">' in page
    assert "Travis County, TX" in page
    assert "A judicial warrant or court order" in page
    assert as_csv(document) == as_csv(report(SEEN).document())
    assert b"Section III" not in as_html(report(SEEN).document())
