"""The page of the method: complete, and its figures are those of the settings and of the code."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from schemas.jurisdiction import registry
from schemas.log import Partition
from schemas.report import AgencyScope, RevisionCause
from schemas.week import Weekday
from services.publisher import gates, restating
from services.publisher.site import method, rendering
from services.publisher.site.about import About
from tests.unit.sample_reader import ABOUT, Pool, reading

SECTIONS = (
    *("counted", "week", "close", "gates", "revisions", "revision-causes", "change-causes", "unknown", "cohorts"),
    *("attested", "jurisdictions", "policies", "persons", "verify", "limits", "terms"),
)


def page(about: About = ABOUT) -> str:
    return rendering.page("method.html", about=about, method=method.described()).decode()


def test_every_word_of_a_report_is_explained() -> None:
    assert set(method.CHANGE_CAUSES) == set(restating.CAUSES)
    assert set(method.REVISION_CAUSES) == set(get_args(RevisionCause))
    assert set(method.ATTESTATIONS) == set(get_args(AgencyScope.model_fields["status"].annotation))


def test_every_gate_is_explained_with_its_limits() -> None:
    everything = gates.Evidence(100, 100, 100, 1, {Partition("detainer-issued", 0): "x"}, {"a": 100}, {"a": [1]})
    limits = gates.Thresholds(51, 6, 21, 52, 181, 22, 23)
    assert list(method.gates(limits)) == [one.gate for one in gates.flags(everything, limits)]
    text = " ".join(method.gates(limits).values())
    assert {str(limit) for limit in asdict(limits).values()} <= set(re.findall(r"[0-9]+", text))


def test_each_section_has_its_id_once_and_each_link_within_the_page_leads_to_one() -> None:
    ids = re.findall(r' id="([^"]+)"', page())
    assert len(ids) == len(set(ids))
    assert set(SECTIONS) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', page())) <= set(ids)
    assert {f"change-{cause}" for cause in restating.CAUSES} <= set(ids)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grace": timedelta(hours=36)}, "the grace of 36 hours passes"),
        ({"grace": timedelta(minutes=90)}, "the grace of 90 minutes passes"),
        ({"hold": timedelta(hours=1)}, "for at most\n1 hour."),
        ({"restatement_weeks": 3}, "For 3 weeks after its first publication"),
        ({"restatement_weeks": 1}, "For 1 week after its first publication"),
        ({"restatement_weeks": 0}, "A week is <em>final</em> after its first publication"),
        ({"calendar": replace(ABOUT.calendar, starts_on=Weekday.MONDAY)}, "begins on Monday at 00:00"),
        ({"line_list": "coarse"}, "Cells below five are merged"),
        ({"line_list": "full"}, "a row for each decline"),
        ({"contact": "mailto:reports@example.org"}, '<a href="mailto:reports@example.org">reports@example.org</a>'),
    ],
)
def test_the_figures_are_those_of_the_settings(changes: dict[str, Any], words: str) -> None:
    assert words in page(replace(ABOUT, **changes))
    assert words not in page()


def test_the_numbers_of_jurisdictions_are_those_of_the_registry() -> None:
    assert sum(method.described()["jurisdictions"].values()) == len(registry())


async def test_the_pages_link_to_each_other_and_mark_their_own_link() -> None:
    async with reading(Pool()) as http:
        for path, _ in rendering.NAVIGATION:
            response = await http.get(path)
            assert response.status_code == 200, path
            if response.headers["content-type"].startswith("text/html"):
                assert f'<a href="{path}" aria-current="page">' in response.text
                assert response.text.count('aria-current="page"') == 1
                assert all(f'href="{other}"' in response.text for other, _ in rendering.NAVIGATION)
