"""Profile `ice-detainers`: what a row means, and rows that are rejects."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pycountry
import pytest

from schemas import taxonomy
from services.importer.ice_detainers import meaning, values
from services.importer.ice_values import lift_of, table
from tests.support import released_files as files
from tests.support.released_files import truth
from tests.unit.sample_released import NOON, data, one, rows_of


@pytest.mark.parametrize(
    "cell", [date(2026, 2, 11), "2026-02-11", "2026-02-11 00:00:00", "2/11/2026", "02/11/26", "11FEB26", "11-Feb-2026",
             "11FEB2026", "46064", "46064.0", "2/11/2026 12:00:00 AM", " 2026-02-11T00:00:00Z "],
)  # fmt: skip
def test_a_date_in_its_many_spellings(tmp_path: Path, cell: object) -> None:
    assert data(one(tmp_path, prepare_date=cell))["issued_at"] == NOON


@pytest.mark.parametrize(
    "cell", [None, "", "NA", "b(6), b(7)c", "soon", "2026-02-30", "13/13/2026", "1/0/1900", "1", "1900-01-01", "0",
             date.today() + timedelta(days=2), "2999-01-01", "=A1"],  # noqa: DTZ011
)  # fmt: skip
def test_a_date_that_is_none_is_a_reject(tmp_path: Path, cell: object) -> None:
    reject = one(tmp_path, prepare_date=cell).reject
    assert reject
    assert (reject.field, reject.reason) == ("prepare_date", "bad-date")


@pytest.mark.parametrize(
    ("cell", "form"),
    [
        ("I247A - Immigration Detainer - Notice of Action (as of May 2025)", "I-247A"),
        ("I247A - Immigration Detainer - Immigration Detainer - Notice of Action", "I-247A"),
        ("I247 - Immigration Detainer - Notice of Action (as of March 2013)", "I-247"),
        ("I247D - Immigration Detainer - Request for Voluntary Action", "I-247D"),
        ("I-247N - Immigration Advisal - Request for Voluntary Notification", "I-247N"),
        ("I247X - Request for Voluntary Transfer", "I-247X"),
        (None, None),
        ("(b)(6)", None),
    ],
)
def test_the_form_is_a_code_or_not_known(tmp_path: Path, cell: object, form: str | None) -> None:
    row = one(tmp_path, detainer_type=cell)
    assert data(row).get("form") == form
    assert (meaning.MARK_FORM in row.marks) is (form is None)
    assert (meaning.MARK_NOTIFICATION in row.marks) is (form == "I-247N")


def test_requests_for_notification_are_totalled_apart(tmp_path: Path) -> None:
    assert one(tmp_path, notify_release="YES").marks == (meaning.MARK_NOTIFY,)
    assert data(one(tmp_path, notify_release="YES"))["form"] == "I-247A"


@pytest.mark.parametrize(
    ("reason", "code", "kinds", "withdrawn"),
    [
        ("Detainer Declined by LEA", "A", ["issued", "declined"], None),
        ("DETAINER  declined by LEA", None, ["issued", "declined"], None),
        (None, "A", ["issued", "declined"], None),
        (None, None, ["issued"], None),
        ("(b)(7)(E)", None, ["issued"], None),
        ("Booked into Detention", "B", ["issued"], None),
        ("No longer in State, Local, or Federal Custody", "Q", ["issued"], None),
        ("Duplicate", None, ["issued"], "duplicate-record"),
        ("Superseding - New Form Issued", None, ["issued"], "superseded-by-new-form"),
    ],
)
def test_what_a_lift_reason_means(
    tmp_path: Path, reason: object, code: object, kinds: list[str], withdrawn: str | None
) -> None:
    row = one(tmp_path, lift_reason=reason, lift_reason_code=code)
    assert [event.kind for event in row.events] == kinds
    assert data(row).get("withdrawn_reason") == withdrawn
    assert (f"withdrawn: {withdrawn}" in row.marks) is bool(withdrawn)


@pytest.mark.parametrize(("reason", "code"), [("Declined", None), (None, "Q"), ("Booked into Detention", "A")])
def test_an_unknown_or_contradictory_lift_reason_is_a_reject(tmp_path: Path, reason: object, code: object) -> None:
    reject = one(tmp_path, lift_reason=reason, lift_reason_code=code).reject
    assert reject
    assert (reject.field, reject.reason) == ("lift_reason", "unknown-lift-reason")


def test_each_lift_reason_has_a_meaning_and_a_source() -> None:
    for row in table("services.importer", "lift_reasons.csv"):
        assert row["means"] in ("declined", "other") or row["means"] in taxonomy.withdrawal_reasons()
        assert row["source"].startswith("[")
        assert lift_of(row["reason"], row["code"])


@pytest.mark.parametrize(
    ("charge_code", "criminality", "offenses", "mark"),
    [
        ("35AA", "1 Convicted Criminal", [{"category": "35A", "basis": "convicted"}], None),
        ("0999", "1 Convicted Criminal", [{"category": "09A", "basis": "convicted"}], None),
        (999.0, "1 Convicted Criminal", [{"category": "09A", "basis": "convicted"}], None),
        ("1304", None, [{"category": "13A", "basis": "convicted"}], None),
        ("5499", "1 Convicted Criminal", None, meaning.MARK_CODE),
        ("2411", "1 Convicted Criminal", None, meaning.MARK_CODE),
        ("2313", "1 Convicted Criminal", None, meaning.MARK_CODE),
        ("5215", "1 Convicted Criminal", None, meaning.MARK_CODE),
        ("7299", "1 Convicted Criminal", None, meaning.MARK_CODE),
        ("1198", "1 Convicted Criminal", [{"category": "11A", "basis": "convicted"}], None),
        (None, "2 Pending Criminal Charges", None, meaning.MARK_CHARGED),
        ("(b)(6)", "3 Other Immigration Violator", [], None),
        (None, "1 Convicted Criminal", None, None),
        (None, None, None, None),
    ],
)
def test_offenses_come_from_codes_and_nothing_is_guessed(
    tmp_path: Path, charge_code: object, criminality: object, offenses: object, mark: str | None
) -> None:
    row = one(tmp_path, charge_code=charge_code, criminality=criminality)
    assert data(row).get("offenses") == offenses
    assert row.marks == ((mark,) if mark else ())


@pytest.mark.parametrize(
    ("name", "code"),
    [("MEXICO", "MEX"), ("BURMA", "MMR"), ("IVORY COAST", "CIV"), ("CHINA, PEOPLES REPUBLIC OF", "CHN"),
     ("SOUTH KOREA", "KOR"), ("KOREA", None), ("CZECHOSLOVAKIA", "CSK"), ("STATELESS", None), ("UNKNOWN", None),
     ("TURKIYE", "TUR"), ("DEM REP OF THE CONGO", "COD"), ("ST. VINCENT-GRENADINES", "VCT"), (None, None)],
)  # fmt: skip
def test_citizenship_is_a_code_or_not_known(tmp_path: Path, name: object, code: str | None) -> None:
    row = one(tmp_path, citizenship=name)
    assert data(row).get("citizenship") == code
    assert row.marks == ()


def test_a_country_in_no_table_loses_no_detainer(tmp_path: Path) -> None:
    row = one(tmp_path, citizenship="ATLANTIS")
    assert row.events
    assert row.marks == (meaning.MARK_CITIZENSHIP,)


def test_every_name_and_common_name_of_iso_3166_is_known() -> None:
    for country in pycountry.countries:
        for name in {country.name, getattr(country, "common_name", country.name)}:
            assert values.citizenship_of(name) == country.alpha_3
            assert values.citizenship_of(name.upper()) == country.alpha_3


def test_the_tables_name_only_codes_that_events_may_have() -> None:
    package = "services.importer.ice_detainers"
    for row in table(package, "ncic.csv"):
        assert not row["category"] or row["category"] in taxonomy.offenses()
        assert row["source"].startswith("[")
    for row in table(package, "country_spellings.csv"):
        assert not row["code"] or row["code"] in taxonomy.countries()
        assert row["source"].startswith("[")


@pytest.mark.parametrize(
    "mark",
    ["(b)(6)", "b(6), b(7)c", "(b)(6), (b)(7)(C)", "(B)(6);(b)(7)(c) (b)(7)(e)", " b6 ", "[b(7)(E)]", "REDACTED", "NA",
     "N/A", "null"],
)  # fmt: skip
def test_a_redacted_value_is_missing(tmp_path: Path, mark: str) -> None:
    missing = one(tmp_path, citizenship=mark, facility_code=mark, charge_code=mark, criminality=mark, identifier=mark)
    assert {"citizenship", "facility", "offenses"} & set(data(missing)) == set()


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"state": None}, "state", "no-state"),
        ({"state": "ATLANTIS"}, "state", "unknown-state"),
        ({"facility": "b(6), b(7)c"}, "facility", "no-facility"),
        ({"facility": "A PLACE"}, "facility", "unknown-facility"),
        ({"detainer_type": "I200 - Warrant"}, "detainer_type", "unknown-type"),
    ],
)
def test_a_row_that_cannot_be_counted_is_a_reject(
    tmp_path: Path, changes: dict[str, Any], field: str, reason: str
) -> None:
    row = one(tmp_path, **changes)
    assert row.reject
    assert (row.reject.field, row.reject.reason, row.events) == (field, reason, ())


def test_a_row_of_another_width_is_a_reject(tmp_path: Path) -> None:
    names, row = files.table("March 2026", [truth()])
    found = rows_of(files.csv_file(tmp_path / "x", [names, row[:-1], row]))
    assert [one.reject and one.reject.reason for one in found] == ["wrong-columns", None]


def test_nothing_of_a_person_leaves_the_importer(tmp_path: Path) -> None:
    """Birth dates, names and identifiers are in no event and in no reject."""
    secrets = {"Birth Date": "1990-07-23", "identifier": "f00d" * 10, "EID DTA ID": "777000111", "birth_year": 1931,
               "MSC Charge Date": "2019-12-08", "Entry Date": "2001-03-04",
               "Other Removal Reason": "Juan Secreto"}  # fmt: skip
    rows = [truth(**secrets), truth(**secrets, state=None), truth(**secrets, lift_reason="Juan Secreto, 1931")]
    found = rows_of(files.xlsx(tmp_path / "x.xlsx", {"A": files.table("March 2026", rows)}))
    said = json.dumps([[event.data for event in row.events] + [repr(row)] for row in found])
    assert Counter(bool(row.reject) for row in found) == {True: 2, False: 1}
    assert [secret for secret in map(str, secrets.values()) if secret in said] == []
