"""The registry: its codes, their meaning, and the operators that fit them."""

import csv
from collections import defaultdict
from importlib.resources import files

import pytest

from schemas.jurisdiction import Jurisdiction, JurisdictionKind, Operator, Registry, registry


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("36033", "Franklin County, NY"),
        ("42055", "Franklin County, PA"),
        ("51059", "Fairfax County, VA"),
        ("51600", "Fairfax city, VA"),
        ("24005", "Baltimore County, MD"),
        ("24510", "Baltimore city, MD"),
        ("29189", "St. Louis County, MO"),
        ("29510", "St. Louis city, MO"),
        ("32510", "Carson City, NV"),
        ("35013", "Doña Ana County, NM"),
        ("72021", "Bayamón Municipio, PR"),
        ("02158", "Kusilvak Census Area, AK"),
        ("02195", "Petersburg Borough, AK"),
        ("46102", "Oglala Lakota County, SD"),
        ("46113", "Shannon County, SD"),
        ("36061", "New York County, NY"),
        ("11001", "District of Columbia, DC"),
        ("11", "District of Columbia"),
        ("44", "Rhode Island"),
        ("78", "U.S. Virgin Islands"),
        ("US", "United States (federal custody)"),
        ("2430", "Navajo Nation Reservation"),
    ],
)
def test_a_code_has_its_current_name(code: str, label: str) -> None:
    entry = registry().get(code)
    assert entry is not None
    assert entry.label == label


@pytest.mark.parametrize(
    ("code", "first", "last"),
    [
        ("09001", "2000", "2020"),
        ("09110", "2022", "2022"),
        ("09190", "2022", "2022"),
        ("02063", "2020", "2022"),
        ("02261", "2000", "2015"),
        ("46113", "2000", "2010"),
        ("46102", "2015", "2022"),
        ("51515", "2000", "2010"),
        ("51560", "2000", "2000"),
        ("08014", "2010", "2022"),
        ("06037", "2000", "2022"),
    ],
)
def test_a_code_valid_in_any_edition_is_accepted(code: str, first: str, last: str) -> None:
    entry = registry().get(code)
    assert entry is not None
    assert (entry.editions[0], entry.editions[-1]) == (first, last)


@pytest.mark.parametrize("code", ["", "us", "74", "74300", "09999", "6037", "06037 ", "0", "99", "٠٦٠٣٧"])
def test_an_unknown_code_is_unknown(code: str) -> None:
    assert code not in registry()
    assert registry().get(code) is None
    assert not any(registry().fits(operator, code) for operator in Operator)


@pytest.mark.parametrize(
    ("code", "operators"),
    [
        ("06037", {Operator.COUNTY, Operator.CITY}),
        ("24510", {Operator.COUNTY, Operator.CITY}),
        ("06", {Operator.STATE}),
        ("US", {Operator.FEDERAL}),
        ("2430", {Operator.TRIBAL}),
    ],
)
def test_an_operator_fits_its_own_kind_alone(code: str, operators: set[Operator]) -> None:
    assert {operator for operator in Operator if registry().fits(operator, code)} == operators


def test_the_registry_is_complete() -> None:
    by_kind: defaultdict[JurisdictionKind, list[Jurisdiction]] = defaultdict(list)
    for entry in registry():
        by_kind[entry.kind].append(entry)
    assert len(registry()) == sum(map(len, by_kind.values()))
    assert len(by_kind[JurisdictionKind.STATE]) == 56
    assert [entry.code for entry in by_kind[JurisdictionKind.FEDERAL]] == ["US"]
    assert len([entry for entry in by_kind[JurisdictionKind.COUNTY] if "2022" in entry.editions]) == 3235
    assert len([entry for entry in by_kind[JurisdictionKind.COUNTY] if entry.state == "CT"]) == 8 + 9
    assert all(len(entry.code) == 5 and entry.state for entry in by_kind[JurisdictionKind.COUNTY])
    assert all(len(entry.code) == 4 and not entry.state for entry in by_kind[JurisdictionKind.TRIBAL])


def test_names_with_their_state_are_unique_within_an_edition() -> None:
    for year in ("2000", "2010", "2015", "2020", "2022"):
        labels = [e.label for e in registry() if e.kind is JurisdictionKind.COUNTY and year in e.editions]
        assert len(labels) == len(set(labels))


def test_the_tables_name_is_used_where_addfips_has_two() -> None:
    table = (files("schemas") / "data" / "counties.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in table.splitlines() if not line.startswith("#"))
    decided = {row["code"] for row in rows}
    for year in ("2000", "2010", "2015", "2020"):
        names: defaultdict[str, set[str]] = defaultdict(set)
        text = (files("addfips") / "data" / f"counties_{year}.csv").read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines()):
            names[row["statefp"] + row["countyfp"]].add(row["name"])
        assert {code for code, found in names.items() if len(found) > 1} <= decided


def test_the_digest_covers_every_entry_whatever_their_order() -> None:
    entries = list(registry())
    assert Registry("other label", reversed(entries)).sha256 == registry().sha256
    assert Registry(registry().edition, entries[1:]).sha256 != registry().sha256
    assert registry().edition.endswith("+ct2022")
