"""Profile `ice-detainers`: the layouts of released files, recognized by their header, and mapping files."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import schemas
from services.importer import ice_detainers, ice_foia
from services.importer.files import InputFile
from services.importer.ice_detainers import describe, layouts, mapping
from services.importer.rows import NotThisFileError
from services.runtime.errors import ConfigurationError
from tests.support import released_files as files
from tests.support.released_files import truth
from tests.unit.sample_released import CALENDAR, DATA, NOON, data, rows_of

REAL = Path(os.environ.get("DDOR_FOIA_FILE", ""))


@pytest.mark.parametrize("layout", ["March 2026", "July 2025", "August 2026"])
@pytest.mark.parametrize("kind", ["xlsx", "csv", "csv.gz", "parquet", "cleaned.csv", "cleaned.parquet"])
def test_every_layout_in_every_format_gives_the_same_events(tmp_path: Path, layout: str, kind: str) -> None:
    names, *body = files.table(layout, [truth(), truth(lift_reason="Detainer Declined by LEA")])
    names = files.cleaned(names) if kind.startswith("cleaned") else names
    path = tmp_path / kind
    if kind == "xlsx":
        files.xlsx(path, {"A": [names, *body], "B": [names, body[0]]})
    elif kind.endswith("parquet"):
        files.parquet_file(path, [names, *body])
    else:
        files.csv_file(path, [names, *body])
    found = rows_of(path)
    assert data(found[0]) == DATA
    assert [[event.kind for event in row.events] for row in found[:2]] == [["issued"], ["issued", "declined"]]
    declined = found[1].events[1].data
    assert (declined["declined_at"], declined["recorded_at"]) == (NOON, NOON)
    named = f"layout {'cleaned ' if kind.startswith('cleaned') else ''}{layout}"
    assert {row.part.rpartition("layout ")[2] for row in found} == {named.removeprefix("layout ")}
    if kind == "xlsx":
        assert [(row.number, row.location) for row in found] == [
            (1, f"sheet 'A', {named}, row 8: "),
            (2, f"sheet 'A', {named}, row 9: "),
            (3, f"sheet 'B', {named}, row 8: "),
        ]


def test_the_files_of_2023_and_2024_lack_the_birth_date(tmp_path: Path) -> None:
    content = files.table("March 2026", [truth()], without=["Birth Date"])
    assert len(content[0]) == 64
    assert [row.part for row in rows_of(files.csv_file(tmp_path / "x", content))] == ["layout March 2026"]


def test_the_names_of_the_published_cleaned_file_are_known(tmp_path: Path) -> None:
    """As code/detainers-latest.R of the Deportation Data Project renames those of March 2026."""
    names, row = files.table("March 2026", [truth()])
    other = {"detainer_criminality": "detainer_prepared_criminality", "detainer_facility": "detention_facility",
             "detainer_facility_code": "detention_facility_code", "anonymized_identifier": "unique_identifier",
             "msc_charge": "most_serious_conviction_charge", "toa_case_category": "arrest_time_case_category",
             "order_to_show_cause_served_yes_no": "order_show_cause_served_yes_no"}  # fmt: skip
    names = [other.get(name, name) for name in files.cleaned(names)]
    extra = ["file_original", "sheet_original", "row_original", "duplicate_likely"]
    path = files.csv_file(tmp_path / "x", [[*names, *extra], [*row, "a.xlsx", "FY26", 8, "FALSE"]])
    assert data(rows_of(path)[0]) == DATA
    assert "ignored" not in describe(InputFile(path))[0]


def test_a_preamble_may_have_any_length_and_merged_cells(tmp_path: Path) -> None:
    for lines in (0, 3, 40):
        path = files.xlsx(
            tmp_path / f"{lines}.xlsx", {"A": files.table("March 2026", [truth()])}, ["Detainers"] * lines
        )
        assert [row.line for row in rows_of(path)] == [lines + 2]


def test_blank_rows_are_no_rows_and_keep_the_numbers(tmp_path: Path) -> None:
    names, row = files.table("March 2026", [truth()])
    path = files.xlsx(tmp_path / "x.xlsx", {"A": [names, [], row, [], [], row]})
    assert [row.line for row in rows_of(path)] == [9, 12]


@pytest.mark.parametrize(
    ("column", "field"), [("Detainer Prepare Date", "prepare_date"), ("Detainer Lift Reason", "lift_reason"),
                          ("Facility State", "state"), ("Facility City", "city"), ("Detainer Type", "detainer_type"),
                          ("Detainer Facility", "facility")],
)  # fmt: skip
def test_a_file_without_a_column_that_decides_is_refused_by_name(tmp_path: Path, column: str, field: str) -> None:
    path = files.csv_file(tmp_path / "x", files.table("March 2026", [truth()], without=[column]))
    with pytest.raises(NotThisFileError, match=f"no column for {field}; the nearest layout is March 2026.*--mapping"):
        rows_of(path)


def test_an_unknown_column_is_ignored_and_named_once(tmp_path: Path) -> None:
    names, row = files.table("March 2026", [truth()], without=["Visa Yes No", "MSC Charge Code"])
    path = files.csv_file(tmp_path / "x", [[*names, "New Column"], [*row, "x"]])
    assert describe(InputFile(path)) == [
        "layout March 2026, header in row 1; without charge_code; columns of no layout, ignored: New Column"
    ]
    assert "offenses" not in data(rows_of(path)[0])


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    names, row = files.table("March 2026", [truth()])
    with pytest.raises(NotThisFileError, match="the column 'detainer lift reason' occurs 2 times"):
        rows_of(files.csv_file(tmp_path / "x", [[*names, "Detainer Lift Reason"], [*row, "Lifted"]]))


def test_a_sheet_with_another_header_is_refused_unless_the_mapping_ignores_it(tmp_path: Path) -> None:
    content = files.table("March 2026", [truth()])
    path = files.xlsx(
        tmp_path / "x.xlsx", {"FY26": content, "Empty": [], "Notes": [["Field", "Meaning"], ["a", "b"]]}, []
    )
    with pytest.raises(NotThisFileError, match=r"sheet 'Notes': no header.*ignore_sheets"):
        rows_of(path)
    assert len(rows_of(path, mapping.parse({"ignore_sheets": ["Notes"]}))) == 1


def test_another_table_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\n\n", b"a,b\n1,2\n"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(NotThisFileError):
            rows_of(tmp_path / "x")


def test_another_table_is_read_with_a_mapping(tmp_path: Path) -> None:
    path = files.csv_file(
        tmp_path / "x",
        [["Sent On", "Jail", "St", "Town", "Outcome", "Paper"],
         ["11.02.2026", "CLARK COUNTY JAIL", "NV", "Las Vegas", "Refused", "I-247A"],
         ["11.02.2026", "CLARK COUNTY JAIL", "NV", "Las Vegas", "duplicate", "I-247A"],
         ["11.02.2026", "CLARK COUNTY JAIL", "NV", "Las Vegas", "Perhaps", "I-247A"]],
    )  # fmt: skip
    (tmp_path / "m.toml").write_text("""
        name = "Sheriffs' list 2027"
        date_formats = ["%d.%m.%Y"]
        [columns]
        prepare_date = "Sent On"
        facility = "Jail"
        state = "St"
        city = "Town"
        lift_reason = "Outcome"
        detainer_type = "Paper"
        [lift_reasons]
        declined = ["REFUSED"]
    """)
    first, second, third = rows_of(path, mapping.load(tmp_path / "m.toml"))
    assert [event.kind for event in first.events] == ["issued", "declined"]
    assert data(first)["issued_at"] == NOON
    assert second.events[0].data["withdrawn_reason"] == "duplicate-record"
    assert third.reject
    assert third.reject.reason == "unknown-lift-reason"
    assert first.part == "Sheriffs' list 2027"


@pytest.mark.parametrize(
    "text",
    ["x = 1", "columns = 1", "[columns]\nx = 'y'", "[columns]\ncity = 1", "[lift_reasons]\nwon = []",
     "[lift_reasons]\nother = 1", "[lift_reasons]\nother = ['a']\ndeclined = ['A']", "name = ''", "name = "],
)  # fmt: skip
def test_a_wrong_mapping_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"m\.toml: "):
        mapping.load(tmp_path / "m.toml")


def test_the_example_in_the_manual_is_a_mapping_file() -> None:
    text = (Path(schemas.__path__[0]).parent / "docs" / "importing.md").read_text(encoding="utf-8")
    example = mapping.parse(tomllib.loads(text.partition("```toml\n")[2].partition("```")[0]))
    assert (example.name, len(example.columns), len(example.lift_reasons)) == ("County list 2027", 7, 4)
    assert all(f"`{field}`" in text for field in layouts.fields())


@pytest.mark.skipif(not REAL.is_file(), reason="the released file is not here (DDOR_FOIA_FILE names it)")
def test_the_real_file_of_2014_gives_the_counts_of_the_profile_ice_foia() -> None:
    counts: list[Counter[tuple[object, ...]]] = []
    for profile in (ice_foia, ice_detainers):
        counted: Counter[tuple[object, ...]] = Counter()
        for row in profile.read(InputFile(REAL), "demo", "set", CALENDAR):
            for event in row.events:
                counted[event.kind, event.data["jurisdiction"], event.data["issued_at"]] += 1
            if row.reject:
                counted[row.reject.reason,] += 1
        counts.append(counted)
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) == 45_845 + 3_218 + 6_712
