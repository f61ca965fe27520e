"""The released file row by row: events, identities and rejects; and the whole real file if it is present."""

import gzip
import os
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.week import ReportingCalendar
from services.importer.facilities import resolve
from services.importer.files import InputFile
from services.importer.ice_foia import COLUMNS, read
from services.importer.rows import NotThisFileError, Row

CALENDAR = ReportingCalendar(ZoneInfo("America/New_York"))
AGENCY = "ice-las-vegas"
FORM = "I247 - Immigration Detainer - Notice of Action (as of March 2013)"
CLARK = "CLARK COUNTY DET.CENTER,NEVADA,LAS VEGAS"
REAL = Path(os.environ.get("DDOR_FOIA_FILE", ""))


def rows_of(tmp_path: Path, *lines: str, dataset: str = "foia") -> list[Row]:
    path = tmp_path / "file.csv"
    path.write_text("\n".join((",".join(COLUMNS), *lines)) + "\n", encoding="utf-8")
    return list(read(InputFile(path), AGENCY, dataset, CALENDAR))


def test_an_issued_detainer(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, f"2015-01-30,{FORM},{CLARK},")
    assert row.reject is None
    (event,) = row.events
    assert event.kind == "issued"
    assert event.data.pop("detainer_id")
    assert event.data == {
        "version": 1,
        "jurisdiction": "32003",
        "operator": "county",
        "location": "32003",
        "issued_at": "2015-01-30T12:00:00-05:00",
        "form": "I-247",
    }


def test_a_declined_detainer_is_issued_and_declined_at_one_instant(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, f"2014-10-25,{FORM},{CLARK},Detainer Declined by LEA")
    issued, declined = row.events
    assert (issued.kind, declined.kind) == ("issued", "declined")
    noon = "2014-10-25T12:00:00-04:00"
    assert declined.data == {**issued.data, "declined_at": noon, "recorded_at": noon}


@pytest.mark.parametrize("lifted", ["Lifted", "Booked into Detention", "Lifted - Lack of Space", "Died"])
def test_other_reasons_for_lifting_are_not_declined(tmp_path: Path, lifted: str) -> None:
    (row,) = rows_of(tmp_path, f"2014-10-25,{FORM},{CLARK},{lifted}")
    assert [event.kind for event in row.events] == ["issued"]


def test_an_unknown_location_is_omitted(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, f"2014-10-25,{FORM},HARRIS COUNTY JAIL,TEXAS,HOUSTON,")
    assert "location" not in row.events[0].data


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (FORM, "I-247"),
        ("I247D - Immigration Detainer - Request for Action", "I-247D"),
        ("I247N - Immigration Advisal - Request for Notification", "I-247N"),
    ],
)
def test_the_form_is_a_code(tmp_path: Path, text: str, form: str) -> None:
    (row,) = rows_of(tmp_path, f"2014-10-25,{text},{CLARK},")
    assert row.events[0].data["form"] == form


def test_identity_comes_from_agency_data_set_and_row_never_from_content(tmp_path: Path) -> None:
    twice = [f"2014-10-25,{FORM},{CLARK},"] * 2
    first = [row.events[0].data["detainer_id"] for row in rows_of(tmp_path, *twice)]
    again = [row.events[0].data["detainer_id"] for row in rows_of(tmp_path, *twice)]
    other = [row.events[0].data["detainer_id"] for row in rows_of(tmp_path, *twice, dataset="other")]
    assert first == again
    assert len({*first, *other}) == 4


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        (f"2014-10-25,{FORM},{CLARK}", "Detainer Lift Reason", "wrong-columns"),
        (f"2014-10-25,{FORM},{CLARK},,", "", "wrong-columns"),
        (f"2014-02-30,{FORM},{CLARK},", "Prepare Date", "bad-date"),
        (f"10/25/2014,{FORM},{CLARK},", "Prepare Date", "bad-date"),
        (f"0001-01-01,{FORM},{CLARK},", "Prepare Date", "bad-date"),
        (f"2014-10-25,I248 - Another,{CLARK},", "Detainer Type", "unknown-type"),
        (f"2014-10-25,{FORM},{CLARK},Declined", "Detainer Lift Reason", "unknown-lift-reason"),
        (f"2014-10-25,{FORM},OTHER-OTHER FACILITY,,,", "State", "no-state"),
        (f"2014-10-25,{FORM},A PLACE,TEXAS,HOUSTON,", "Detainer Detention Facility", "unknown-facility"),
    ],
)
def test_an_invalid_row_is_a_reject_and_the_next_rows_are_read(
    tmp_path: Path, line: str, field: str, reason: str
) -> None:
    good = f"2014-10-25,{FORM},{CLARK},"
    before, row, after = rows_of(tmp_path, good, line, good)
    assert before.events
    assert after.events
    assert row.events == ()
    assert row.reject is not None
    assert (row.reject.row, row.reject.field, row.reject.reason) == (2, field, reason)


def test_gzip_is_detected_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    text = f"{','.join(COLUMNS)}\r\n2014-10-25,{FORM},{CLARK},\r\n"
    path.write_bytes(gzip.compress(text.encode("utf-8-sig")))
    (row,) = read(InputFile(path), AGENCY, "foia", CALENDAR)
    assert row.events


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"\x1f\x8b nothing", gzip.compress(b"Prepare Date", mtime=0)[:-4], b"\xff\xfe\x00"]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotThisFileError):
        list(read(InputFile(path), AGENCY, "foia", CALENDAR))


@pytest.mark.skipif(not REAL.is_file(), reason="the released file is not available (set DDOR_FOIA_FILE)")
def test_at_least_97_percent_of_the_real_rows_with_a_state_resolve() -> None:
    outcomes: Counter[str] = Counter()
    for row in read(InputFile(REAL), AGENCY, "foia", CALENDAR):
        outcomes[row.reject.reason if row.reject else "accepted"] += 1
        assert bool(row.events) is (row.reject is None)
    assert sum(outcomes.values()) == 52_557
    assert outcomes["no-state"] == 6_203
    assert outcomes["accepted"] / (52_557 - 6_203) >= 0.97
    assert resolve.cache_info().misses < 5_000
