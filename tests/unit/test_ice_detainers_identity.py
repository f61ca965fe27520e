"""Identities of released rows: the same in every release, different for equal rows, and what two releases share."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from services.importer.files import InputFile
from services.importer.ice_detainers import read
from services.importer.ice_detainers.identity import Described, Identities
from services.importer.rows import Identity
from tests.support import released_files as files
from tests.support.released_files import truth
from tests.unit.sample_released import CALENDAR

ROW = Described(
    date(2026, 2, 11), "CLARKNV", "CLARK COUNTY JAIL", "LAS VEGAS", "NEVADA", "I-247A", "a" * 40, ("1990", "MEX")
)


def changed(**changes: object) -> Described:
    fields = {name: getattr(ROW, name) for name in Described.__slots__} | changes
    return Described(**fields)


def identities(*rows: Described, agency: str = "demo") -> list[Identity]:
    made = Identities(agency)
    return [made.next(row) for row in rows]


def ids(*rows: Described, agency: str = "demo") -> list[str]:
    return [one.detainer_id for one in identities(*rows, agency=agency)]


def test_equal_rows_are_different_detainers_by_their_order() -> None:
    assert len(set(ids(ROW, ROW, ROW))) == 3
    assert ids(ROW, changed(city="X"), ROW)[:2] == ids(ROW, ROW)
    assert [one.ordinal for one in identities(ROW, changed(identifier=""), ROW)] == [0, 0, 1]


def test_each_part_of_the_key_makes_another_identity() -> None:
    others = [
        changed(prepared=date(2026, 2, 12)), changed(facility_code="OTHERNV"), changed(form="I-247N"),
        changed(identifier="b" * 40), changed(identifier=""),
    ]  # fmt: skip
    assert len({*ids(ROW), *(ids(one)[0] for one in others), *ids(ROW, agency="other")}) == 7


def test_without_a_code_the_facility_is_its_name_in_one_spelling() -> None:
    spelt = changed(facility_code="", facility="Clark  County Jail.", city="las vegas")
    assert ids(spelt) == ids(changed(facility_code=""))
    assert ids(spelt) != ids(ROW)
    assert ids(changed(steady=("1991", "MEX"))) == ids(ROW)


def test_a_file_gives_the_same_identities_under_any_name_and_in_any_layout(tmp_path: Path) -> None:
    rows = [truth(), truth(), truth(identifier=None)]
    march = files.xlsx(tmp_path / "x.xlsx", {"A": files.table("March 2026", rows)})
    august = files.csv_file(tmp_path / "x.csv", files.table("August 2026", rows))
    found = [
        [row.events[0].data["detainer_id"] for row in read(InputFile(path), "demo", dataset, CALENDAR)]
        for path, dataset in ((march, "march"), (august, "august"))
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) == 3
