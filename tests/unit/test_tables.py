"""Table files as sheets of rows: what each format gives, and files that are refused."""

from __future__ import annotations

import gzip
import io
import sys
import tracemalloc
import zipfile
from datetime import date
from pathlib import Path

import openpyxl
import pytest

from services.importer.files import InputFile
from services.importer.rows import NotThisFileError
from services.importer.tables import Misfit, sheets, xlsx
from services.importer.tables.cells import letters
from tests.support import released_files as files

ALL = range(5)


def rows(path: Path, *columns: int, after: int = 0) -> list[tuple[int, object]]:
    """The rows of all sheets; all cells when no column is named."""
    return [
        row for sheet in sheets(InputFile(path)) for row in (sheet.rows(after, columns) if columns else sheet.head(99))
    ]


def test_a_workbook_gives_its_sheets_with_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    content: list[list[object]] = [["a", None, 2.5], [], ["b", date(2026, 2, 11), True]]
    path = files.xlsx(tmp_path / "x.xlsx", {"One": content, "Two": [["c"]]}, preamble=["head", ""])
    assert [sheet.name for sheet in sheets(InputFile(path))] == ["One", "Two"]
    assert rows(path) == [(1, ["head"]), (3, ["a", None, 2.5]), (5, ["b", 46064.0, "TRUE"]), (1, ["head"]), (3, ["c"])]
    assert rows(path, 2, 0, after=3) == [(5, ["TRUE", "b"])]


SEVEN = b'<c r="C2"><v>7</v></c></row>'
ODD = {
    "usual": b'<row r="2"><c r="A2" t="s"><v>0</v></c><c r="C2" s="1"><v>7</v></c></row>',
    "no names": b'<row><c t="s"><v>0</v></c><c/><c><v>7</v></c></row>',
    "single quotes": b"<row r='2'><c r='A2' t='s'><v>0</v></c><c r='C2'><v>7</v></c></row>",
    "another order": b'<row r="2"><c t="s" r="A2"><v>0</v></c><c s="1" r="C2"><v>7</v></c></row>',
    "inline": b'<row r="2"><c r="A2" t="inlineStr"><is><t xml:space="preserve">a &amp; b</t></is></c>' + SEVEN,
    "rich": b'<row r="2"><c r="A2" t="inlineStr"><is><r><t>a &amp;</t></r><r><t> b</t></r></is></c>' + SEVEN,
    "formula": b'<row r="2"><c r="A2" t="str"><f>X1&amp;Y1</f><v>a &amp; b</v></c><c r="C2"><f/><v>7</v></c></row>',
    "CDATA": b'<row r="2"><c r="A2" t="str"><v><![CDATA[a & b]]></v></c><c r="C2"><v>7</v></c></row>',
    "comment": b'<row r="2"><!-- --><c r="A2" t="s"><v>0</v></c><c r="C2"><v>7</v></c></row>',
    "line ends": b'<row\n r="2">\n<c r="A2" t="s"><v>0</v></c>\n<c r="C2"><v>7</v></c>\n</row>',
}


@pytest.mark.parametrize("name", ODD)
def test_every_way_to_write_a_row_gives_the_same_cells(tmp_path: Path, name: str) -> None:
    texts = b"<si><r><t>a &amp;</t></r><r><t> b</t></r><rPh><t>x</t></rPh></si>"
    path = files.raw_xlsx(tmp_path / "x.xlsx", b'<row r="1"/>' + ODD[name], texts=texts)
    expected = "a & b"
    assert rows(path) == [(2, [expected, None, 7.0])]
    assert rows(path, 2, 1, 0) == [(2, [7.0, None, expected])]


def test_a_workbook_with_a_namespace_prefix(tmp_path: Path) -> None:
    """Open XML SDK and some report servers write one."""
    sheet = b'<x:row r="1"><x:c r="A1" t="s"><x:v>1</x:v></x:c><x:c r="B1" t="e"><x:v>#N/A</x:v></x:c></x:row>'
    path = files.raw_xlsx(tmp_path / "x.xlsx", sheet, texts=b"<x:si/><x:si><x:t>_x0041_</x:t></x:si>", prefix="x:")
    assert rows(path) == rows(path, 0, 1) == [(1, ["A", None])]


def test_columns_have_the_names_of_spreadsheets() -> None:
    assert [letters(index) for index in (0, 25, 26, 64, 701, 702)] == ["A", "Z", "AA", "BM", "ZZ", "AAA"]


def test_merged_cells_have_their_value_in_the_first(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["x", "y"])
    sheet.merge_cells("A1:B1")
    book.save(tmp_path / "x.xlsx")
    assert rows(tmp_path / "x.xlsx", 0, 1) == [(1, ["x", None])]


def test_dates_count_from_1904_where_the_workbook_says_so(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    book.active.append(["x"])
    book.save(tmp_path / "x.xlsx")
    assert [sheet.epoch for sheet in sheets(InputFile(tmp_path / "x.xlsx"))] == [date(1904, 1, 1)]


@pytest.mark.parametrize(
    "content",
    [
        b'a,b,c\nd,,f\n\n"g\nh",i,j\n',
        b'\xef\xbb\xbfa;b;c\r\nd;;f\r\n\r\n"g\nh";i;j',
        'a\tb\tc\nd\t\tf\n\n"g\nh"\ti\tj'.encode("utf-16"),
        gzip.compress(b'a|b|c\nd||f\n\n"g\nh"|i|j'),
    ],
    ids=["comma", "semicolon, BOM", "tab, UTF-16", "pipe, gzip"],
)
def test_csv_in_its_many_forms(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert rows(tmp_path / "x") == [(1, ["a", "b", "c"]), (2, ["d", "", "f"]), (4, ["g\nh", "i", "j"])]
    assert rows(tmp_path / "x", 2, 0, after=1) == [(2, ["f", "d"]), (4, ["j", "g\nh"])]


def test_bytes_that_are_not_utf_8_are_windows_1252(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("Doña Ana,é€".encode("cp1252"))
    assert rows(tmp_path / "x") == [(1, ["Doña Ana", "é€"])]


def test_a_row_of_another_width_is_a_misfit_and_not_shifted(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a,b\n1\n1,2,3\n1,2,\n1,2\n")
    found = rows(tmp_path / "x", 0, after=1)
    assert found == [(2, Misfit(1, 2)), (3, Misfit(3, 2)), (4, ["1"]), (5, ["1"])]


def test_parquet_gives_text_numbers_and_dates(tmp_path: Path) -> None:
    path = files.parquet_file(tmp_path / "x", [["a", "b"], ["x", date(2026, 2, 11)], [None, None]], n=[1, None])
    assert rows(path) == [(0, ["a", "b", "n"])]
    assert rows(path, 2, 1, 0) == [(1, [1.0, date(2026, 2, 11), "x"]), (2, [None, None, None])]


def test_a_nested_column_of_parquet_is_refused_if_it_is_asked_for(tmp_path: Path) -> None:
    path = files.parquet_file(tmp_path / "x", [["a"], ["x"]], deep=[{"y": 1}])
    assert rows(path, 0) == [(1, ["x"])]
    with pytest.raises(NotThisFileError, match="column deep is nested"):
        rows(path, 1)


def test_without_pyarrow_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.parquet_file(tmp_path / "x", [["a"], ["x"]])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotThisFileError, match=r"pip install 'weekly-detainer-report\[files\]'"):
        rows(path)


def _truncated(path: Path) -> bytes:
    return path.read_bytes()[:-40]


def _corrupted(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    at = content.index(b"xl/worksheets/sheet1.xml") + 60
    content[at : at + 20] = bytes(20)
    return bytes(content)


def _archive(**parts: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


def broken(tmp_path: Path) -> dict[str, bytes]:
    """Files that no sheet can be read from."""
    good = files.xlsx(tmp_path / "good.xlsx", {"One": [["a", "b"]] * 500})
    parquet = files.parquet_file(tmp_path / "good.parquet", [["a"], *([["x"]] * 500)])
    return {
        "password": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "truncated workbook": _truncated(good),
        "corrupted workbook": _corrupted(good),
        "another archive": _archive(**{"x.txt": b"x"}),
        "a document type": _archive(**{"xl/workbook.xml": b'<!DOCTYPE x [<!ENTITY a "b">]><x/>'}),
        "cut within its rows": files.raw_xlsx(tmp_path / "c.xlsx", b'<row r="1"><c r="A1"/>').read_bytes(),
        "truncated parquet": _truncated(parquet),
        "truncated gzip": gzip.compress(b"a,b\n" * 500)[:-9],
        "an endless line": b"a" * (2 << 20),
        "zeros": bytes(3 << 20),
        "an open quote": b'a,b\n"' + b"x,\n" * 200_000,
    }


BROKEN = (
    "password", "truncated workbook", "corrupted workbook", "another archive", "a document type", "cut within its rows",
    "truncated parquet", "truncated gzip", "an endless line", "zeros", "an open quote",
)  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(broken(tmp_path)[name])
    with pytest.raises(NotThisFileError):
        rows(tmp_path / "x", 0)


def _bomb(path: Path, before: bytes, filler: bytes, part: str, *, megabytes: int) -> None:
    """A workbook with a part of that number of megabytes, which compress to almost nothing."""
    small = files.raw_xlsx(path, b"")
    with zipfile.ZipFile(small) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if name != part}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with archive.open(part, "w", force_zip64=True) as file:
            file.write(before)
            block = filler * ((1 << 20) // len(filler))
            for _ in range(megabytes):
                file.write(block)


SHEET = b"<worksheet><sheetData>"
BOMBS = {
    "zeros": (SHEET, bytes(64), "xl/worksheets/one.xml"),
    "a long cell": (SHEET + b'<row r="1"><c r="A1" t="str"><v>', b"x" * 64, "xl/worksheets/one.xml"),
    "empty rows": (SHEET, b"<row/>" * 8, "xl/worksheets/one.xml"),
    "many rows": (SHEET, b"<row><c><v>1</v></c></row>", "xl/worksheets/one.xml"),
    "many texts": (b"<sst>", b"<si><t>a text that is shared by some cells</t></si>", "xl/texts.xml"),
    "a long list of sheets": (bytes(64), bytes(64), "xl/workbook.xml"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The limits of rows and texts are lower here, so that the test is fast."""
    monkeypatch.setattr(xlsx, "_MOST_ROWS", 2_000)
    monkeypatch.setattr(xlsx, "_MOST_TEXTS", 2_000)
    _bomb(tmp_path / "x", *BOMBS[name], megabytes=60)
    assert (tmp_path / "x").stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(NotThisFileError):
            rows(tmp_path / "x", 0)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
