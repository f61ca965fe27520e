"""Areas with two codes: counties that were renamed, split or merged. Only one agency may have both codes."""

from __future__ import annotations

import pytest

from schemas.jurisdiction import JurisdictionKind, registry, successions
from tests.unit.test_agencies import read, refused, table

SUCCESSIONS = [(area.predecessor, area.successor) for area in successions()]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("46113", "46102"), ("51515", "51019"), ("02261", "02063"), ("02261", "02066"), ("09001", "09110")),
        *(("51560", "51005"), ("02270", "02158"), ("02280", "02275"), ("11", "11001"), ("460* 46102", "4611*")),
        *(("4611*", "4610*"), ("0911*", "09013"), ("02261", "0206*")),
    ],
)
def test_an_area_with_two_codes_belongs_to_one_agency(one: str, other: str) -> None:
    """A detainer sent under both codes would count twice, and one row could be 0 while the other is null."""
    for mine, theirs in ((one, other), (other, one)):
        message = refused(table("before", mine), table("after", theirs))
        assert "the scopes of before and after overlap: issued in" in message


def test_an_area_with_two_codes_is_reported() -> None:
    message = refused(table("shannon", "46113"), table("oglala", "46102"))
    assert message.endswith("issued in 46113 and 46102: 46113 is, in whole or in part, 46102 since 2015-05-01")


@pytest.mark.parametrize(
    ("one", "other"), [("08013", "08014"), ("02063", "02066"), ("46113", "46099"), ("09001", "09003"), ("2430", "24*")]
)
def test_neighbours_are_not_an_area_with_two_codes(one: str, other: str) -> None:
    read(table("one", one), table("other", other))


def test_an_agency_may_have_both_codes_of_an_area() -> None:
    read(table("dakota", "46113 46102"))


def test_another_agency_may_have_the_new_code_later() -> None:
    read(
        table("before", "46113", more="valid_to = 2015-05-01T00:00:00Z"),
        table("after", "46102", more="valid_from = 2015-05-01T00:00:00Z"),
    )


def test_each_added_or_removed_code_has_a_successor_or_predecessor() -> None:
    """Broomfield was formed from parts of four counties, which kept their codes."""
    counties = [entry for entry in registry() if entry.kind is JurisdictionKind.COUNTY]
    went = {entry.code for entry in counties if entry.editions[-1] != "2022"}
    came = {entry.code for entry in counties if entry.editions[0] != "2000"} - {"08014"}
    assert went <= {old for old, _ in SUCCESSIONS}
    assert came <= {new for _, new in SUCCESSIONS}
    assert all(one in registry() and other in registry() for one, other in SUCCESSIONS)
    assert len(SUCCESSIONS) == len(set(SUCCESSIONS))
