"""Sample files of the released layouts, made from one list of truths: XLSX, CSV, Parquet, and broken ones."""

from __future__ import annotations

import csv
import gzip
import tomllib
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import openpyxl

PREAMBLE = (
    "U.S. Immigration and Customs Enforcement",
    "ERO LESA Statistical Tracking Unit",
    "For Official Use Only",
    "Detainers",
    "Fiscal years 2023 to 2026",
    "",
)
FORM = "I247A - Immigration Detainer - Notice of Action (as of May 2025)"
LAYOUTS: Mapping[str, Sequence[str]] = {
    one["name"]: one["columns"]
    for one in tomllib.loads((files("services.importer.ice_detainers") / "layouts.toml").read_text())["layouts"]
}
FIELDS: Mapping[str, Sequence[str]] = tomllib.loads(
    (files("services.importer.ice_detainers") / "layouts.toml").read_text()
)["fields"]

Truth = dict[str, Any]
"""A row by field, such as `prepare_date`; other columns of the layout by their name."""


def truth(**changes: Any) -> Truth:
    """A detainer at a county jail, with changes."""
    return {
        "prepare_date": date(2026, 2, 11),
        "facility": "CLARK COUNTY JAIL",
        "facility_code": "CLARKNV",
        "state": "NEVADA",
        "city": "LAS VEGAS",
        "lift_reason": "Booked into Detention",
        "lift_reason_code": None,
        "detainer_type": FORM,
        "notify_release": "NO",
        "citizenship": "MEXICO",
        "criminality": "1 Convicted Criminal",
        "charge_code": "5404",
        "identifier": "a" * 40,
        "birth_year": 1990,
        "birth_country": "MEXICO",
        "gender": "Male",
        **changes,
    }


def columns(layout: str, *, without: Iterable[str] = ()) -> list[str]:
    """The layout's columns but for some."""
    return [name for name in LAYOUTS[layout] if name not in set(without)]


def cells(names: Sequence[str], row: Truth) -> list[Any]:
    """A row's cells under these columns."""
    by_name = {_spelt(name): row[field] for field, synonyms in FIELDS.items() if field in row for name in synonyms}
    return [row.get(name, by_name.get(_spelt(name))) for name in names]


def xlsx(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]], preamble: Sequence[str] = PREAMBLE) -> Path:
    """A workbook; each sheet begins with the preamble. None is an empty cell."""
    book = openpyxl.Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for line in preamble:
            sheet.append([line] if line else [])
        for row in rows:
            sheet.append(list(row))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        book.save(path)
    return path


def table(layout: str, rows: Iterable[Truth], **options: Any) -> list[list[Any]]:
    """Header and rows."""
    names = columns(layout, **options)
    return [names, *(cells(names, row) for row in rows)]


def cleaned(names: Sequence[str]) -> list[str]:
    """Names in snake_case."""
    return [_spelt(name).replace(" ", "_") for name in names]


def csv_file(path: Path, rows: Sequence[Sequence[Any]], *, missing: str = "NA", encoding: str = "utf-8") -> Path:
    """A CSV file, gzipped if the name ends in .gz."""
    lines: list[str] = []

    class _Lines:
        def write(self, text: str) -> int:
            lines.append(text)
            return len(text)

    csv.writer(_Lines()).writerows([missing if cell is None else cell for cell in row] for row in rows)
    content = "".join(lines).encode(encoding)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def parquet_file(path: Path, rows: Sequence[Sequence[Any]], **columns: Any) -> Path:
    """A Parquet file; `columns` replaces whole columns."""
    import pyarrow as pa
    from pyarrow import parquet

    names, *body = rows
    made = {name: pa.array([row[index] for row in body]) for index, name in enumerate(names)}
    parquet.write_table(pa.table({**made, **{name: pa.array(values) for name, values in columns.items()}}), path)
    return path


def raw_xlsx(path: Path, sheet: bytes, *, texts: bytes = b"", prefix: str = "") -> Path:
    """A workbook of one sheet from raw XML, as some other program may write it."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    name = f"xmlns:{prefix[:-1]}" if prefix else "xmlns"
    p = prefix.encode()
    root = f'{name}="{main}"'.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets>'
            "</workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships><Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/one.xml"/>'
            f'<Relationship Id="r2" Type="{office}/sharedStrings" Target="/xl/texts.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/worksheets/one.xml",
            b"<%sworksheet %s><%ssheetData>%s</%ssheetData></%sworksheet>" % (p, root, p, sheet, p, p),
        )
        archive.writestr("xl/texts.xml", b"<%ssst %s>%s</%ssst>" % (p, root, texts, p))
    return path


def _spelt(name: str) -> str:
    from services.importer.ice_detainers.layouts import spelling

    return spelling(name)
