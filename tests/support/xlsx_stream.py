"""Writes a workbook of many rows as text, row by row: a library takes ten times as long."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from services.importer.tables.cells import letters
from services.importer.tables.sheet import EPOCH_1900

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_LETTERS = [letters(index) for index in range(100)]
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml."


def write(path: Path, sheets: Iterable[tuple[str, Iterable[Sequence[Any]]]]) -> Path:
    """A workbook of these sheets. A date is a spreadsheet's number of days, a float a whole number, None empty."""
    shared: dict[str, int] = {}
    names: list[str] = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, rows in sheets:
            names.append(name)
            with archive.open(f"xl/worksheets/sheet{len(names)}.xml", "w", force_zip64=True) as file:
                file.write(f'<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
                for number, row in enumerate(rows, 1):
                    cells = "".join(_cell(f"{_LETTERS[at]}{number}", cell, shared) for at, cell in enumerate(row))
                    file.write(f'<row r="{number}" spans="1:{len(row)}">{cells}</row>'.encode())
                file.write(b"</sheetData></worksheet>")
        texts = "".join(f"<si><t>{escape(text)}</t></si>" for text in shared)
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{_MAIN}">{texts}</sst>')
        _write_index(archive, names)
    return path


def _write_index(archive: zipfile.ZipFile, names: Sequence[str]) -> None:
    numbered = list(enumerate(names, 1))
    listed = "".join(f'<sheet name="{escape(name)}" sheetId="{at}" r:id="r{at}"/>' for at, name in numbered)
    archive.writestr(
        "xl/workbook.xml", f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
    )
    links = "".join(_link(f"r{at}", "worksheet", f"worksheets/sheet{at}.xml") for at, _ in numbered)
    _write_links(archive, "xl/_rels/workbook.xml.rels", links + _link("t", "sharedStrings", "sharedStrings.xml"))
    _write_links(archive, "_rels/.rels", _link("r1", "officeDocument", "xl/workbook.xml"))
    parts = {"/xl/workbook.xml": "sheet.main", "/xl/sharedStrings.xml": "sharedStrings"}
    parts |= {f"/xl/worksheets/sheet{at}.xml": "worksheet" for at, _ in numbered}
    overrides = "".join(f'<Override PartName="{name}" ContentType="{_KIND}{of}+xml"/>' for name, of in parts.items())
    archive.writestr(
        "[Content_Types].xml",
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
    )


def _write_links(archive: zipfile.ZipFile, name: str, links: str) -> None:
    archive.writestr(name, f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>')


def _link(name: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'


def _cell(name: str, cell: Any, shared: dict[str, int]) -> str:
    if cell is None or cell == "":
        return f'<c r="{name}" s="2"/>'
    if isinstance(cell, date):
        return f'<c r="{name}" s="1"><v>{(cell - EPOCH_1900).days}</v></c>'
    if isinstance(cell, int | float):
        return f'<c r="{name}"><v>{cell:.0f}</v></c>'
    return f'<c r="{name}" t="s"><v>{shared.setdefault(cell, len(shared))}</v></c>'
