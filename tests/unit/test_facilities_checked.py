"""Facilities checked by hand, the rule about misspelt counties, and the curated tables."""

from csv import DictReader
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.jurisdiction import JurisdictionKind, Operator, registry
from services.importer.facilities import Resolved, Unresolved, resolve
from services.importer.facilities.curated import by_pattern, exactly
from services.importer.facilities.geography import counties_of, counties_spelt, county_named, states
from services.importer.facilities.spelling import close, place_key, words

CHECKED = tuple(
    DictReader(
        line
        for line in (Path(__file__).parent / "facilities_checked.csv").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
)


def test_the_table_has_150_facilities_a_third_of_them_not_in_the_released_file() -> None:
    names = {(row["facility"], row["state"]) for row in CHECKED}
    assert len(names) == len(CHECKED) >= 150
    assert sum(not row["released"] for row in CHECKED) >= len(CHECKED) / 3
    assert all(row["why"] for row in CHECKED)


@pytest.mark.parametrize("row", CHECKED, ids=lambda row: f"{row['facility']}, {row['state']}")
def test_a_facility_checked_by_hand(row: dict[str, str]) -> None:
    found = resolve(row["facility"], row["state"], row["city"])
    if isinstance(found, Unresolved):
        assert (found.reason, "") == (row["expected"], row["operator"])
    else:
        assert (found.code, found.operator) == (row["expected"], row["operator"])


COUNTIES = tuple(
    (entry.state, entry.name.removesuffix(" County"), entry.code)
    for entry in registry()
    if entry.kind is JurisdictionKind.COUNTY and entry.name.endswith(" County") and entry.state in states()
)
WITHOUT_COUNTY_JAILS = ("AK", "CT", "DE", "HI", "RI", "VT", "PR", "GU", "VI", "MP", "AS")


@given(data=st.data(), county=st.sampled_from(COUNTIES))
def test_a_misspelt_county_resolves_only_to_the_one_candidate_around_the_city(
    data: st.DataObject, county: tuple[str, str, str]
) -> None:
    postal, name, code = county
    assume(postal not in WITHOUT_COUNTY_JAILS and counties_of(postal, name))
    at = data.draw(st.integers(1, len(name) - 1))
    letter = data.draw(st.sampled_from("AEIORNST"))
    misspelt = data.draw(st.sampled_from((name[:at] + name[at + 1 :], name[:at] + letter + name[at:])))
    found = resolve(f"{misspelt} CO. JAIL", postal, name)
    exact = county_named(postal, misspelt)
    candidates = {exact} if exact else counties_spelt(postal, misspelt) & counties_of(postal, name)
    if isinstance(found, Resolved) and found.operator is Operator.COUNTY:
        assert found.code in counties_of(postal, name)
        assert len(candidates) != 1 or found.code in candidates
    if len(candidates) > 1:
        assert isinstance(found, Unresolved)
    assert code in counties_spelt(postal, misspelt) or not close(place_key(name), place_key(misspelt))


@pytest.mark.parametrize(("city", "code"), [("", None), ("MEMPHIS", "48191"), ("PLAINVIEW", "48189")])
def test_of_two_candidates_the_city_leaves_one_or_the_row_is_rejected(city: str, code: str | None) -> None:
    assert counties_spelt("TX", "HALX") == {"48189", "48191"}  # Hale and Hall
    found = resolve("HALX CO. JAIL", "TEXAS", city)
    assert getattr(found, "code", None) == code


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("STERNS", "STEARNS", True),
        ("PUTMAN", "PUTNAM", True),
        ("CLARKE", "CLARK", True),
        ("MARNI", "MARIN", True),
        ("LEE", "LEA", False),
        ("CLAY", "CLARK", False),
        ("MARION", "MARSHALL", False),
    ],
)
def test_close_allows_one_error_in_short_names_and_two_in_long(one: str, other: str, same: bool) -> None:
    assert close(one, other) is close(other, one) is same


def test_no_city_is_no_contradiction() -> None:
    assert isinstance(resolve("HARRIS COUNTY JAIL", "TEXAS", ""), Resolved)


@pytest.mark.parametrize("name", ["YONKERS CITY CORR FACILITY", "NASSAU CORR CENTER", "PORT ISABEL POLICE DEPT."])
@pytest.mark.parametrize("state", ["NEW YORK", "TEXAS"])
def test_no_pattern_of_prisons_takes_a_citys_or_countys_jail(name: str, state: str) -> None:
    city = {"Y": "YONKERS", "N": "EAST MEADOW", "P": "PORT ISABEL"}[name[0]]
    found = resolve(name, state, city)
    assert isinstance(found, Unresolved) or found.operator in (Operator.CITY, Operator.COUNTY)


@pytest.mark.parametrize("table", ["facilities.csv", "undecided.csv"])
def test_each_curated_row_is_used_and_fits_the_registry(table: str) -> None:
    text = (files("services.importer.facilities") / table).read_text(encoding="utf-8")
    for row in DictReader(line for line in text.splitlines() if not line.startswith("#")):
        assert row["state"] in states()
        assert None not in row
        code = row.get("code") or states()[row["state"]].code
        assert row.get("reason") or registry().fits(Operator(row["operator"]), code)
        if row.get("location"):
            assert registry().fits(Operator.COUNTY, row["location"])
        name, postal = " ".join(words(row["facility"])), states()[row["state"]].postal
        if "*" in name:
            assert by_pattern(name.replace("*", ""), postal, row["city"]), row["facility"]
        else:
            found = exactly(name, postal, row["city"])
            assert found is not None
            assert found.why == row["why"]
