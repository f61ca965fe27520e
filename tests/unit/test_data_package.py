"""services.publisher.site.data_package: the description of the files. The archive is tested in tests/integration."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

from schemas.jurisdiction import registry
from services.publisher.site import data_package, figure_files
from services.publisher.site.data_package import Written, describe

WRITTEN = {name: Written(number, f"{number:064x}") for number, name in enumerate(data_package.RESOURCES)}


def described(sequence: int = 3, created: datetime | None = None) -> dict[str, Any]:
    return describe(WRITTEN, sequence=sequence, created=created)


def test_the_description_names_each_file_with_its_length_and_digest() -> None:
    for number, resource in enumerate(described()["resources"]):
        assert resource["path"] == f"{resource['name']}.csv"
        assert (resource["bytes"], resource["hash"]) == (number, f"sha256:{number:064x}")


def test_the_fields_are_the_columns_of_the_files() -> None:
    columns = {
        one["name"]: tuple(field["name"] for field in one["schema"]["fields"]) for one in described()["resources"]
    }
    (header,) = csv.reader(io.StringIO(data_package.jurisdictions().decode().partition("\r\n")[0]))
    assert columns == {
        "figures": figure_files.FIGURE_COLUMNS,
        "revisions": figure_files.FIGURE_COLUMNS,
        "weeks": figure_files.WEEK_COLUMNS,
        "jurisdictions": tuple(header),
    }


def test_only_an_unknown_number_and_a_state_may_be_empty() -> None:
    assert {
        (one["name"], field["name"])
        for one in described()["resources"]
        for field in one["schema"]["fields"]
        if not field["constraints"].get("required")
    } == {("figures", "n"), ("revisions", "n"), ("jurisdictions", "state")}


def test_version_and_instant_come_from_the_newest_report() -> None:
    at = datetime(2017, 2, 5, 5, 0, 1, 999_999, UTC)
    assert described(57, at)["created"] == "2017-02-05T05:00:01Z"
    assert described(57, at)["version"] == "1.57.0"
    assert "created" not in described(0)


def test_each_jurisdiction_is_a_line_with_a_code_that_fits_its_pattern() -> None:
    rows = list(csv.DictReader(io.StringIO(data_package.jurisdictions().decode())))
    assert [row["geoid"] for row in rows] == [one.code for one in registry()]
    geoid = described()["resources"][0]["schema"]["fields"][2]
    assert (geoid["name"], geoid["type"]) == ("geoid", "string")
    assert all(re.fullmatch(geoid["constraints"]["pattern"], row["geoid"]) for row in rows)


def test_the_readme_names_each_file() -> None:
    text = data_package.readme().decode()
    assert all(f"`{name}.csv`" in text for name in data_package.RESOURCES)
