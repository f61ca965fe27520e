"""XLSX workbooks, streamed: the archive, its sheets and its table of shared texts. `cells` reads the rows."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice
from typing import IO
from xml.parsers import expat

from services.importer.files import InputFile
from services.importer.rows import NotThisFileError
from services.importer.tables.cells import RowReader, plain_text, texts_of
from services.importer.tables.damage import damage_refused
from services.importer.tables.pieces import pieces, prefix_of
from services.importer.tables.sheet import EPOCH_1900, EPOCH_1904, NumberedRow
from services.importer.tables.texts import SharedTexts

_LARGEST_PART = 4 << 20
"""Bytes of the workbook's list of sheets and of its relations."""
_MOST_TEXTS = 2_000_000
_MOST_TEXT_BYTES = 128 << 20
"""A workbook of 600,000 rows with a different identifier each has 24 MB of shared text."""
_MOST_ROWS = 1_048_576
"""The most rows that a sheet can have in the format."""


def sheets(file: InputFile) -> Iterator[XlsxSheet]:
    """The worksheets in the workbook's order. Raises NotThisFileError as `tables.sheets` does."""
    with damage_refused(), file.open_raw() as raw, zipfile.ZipFile(raw) as archive:
        if any(info.flag_bits & 1 for info in archive.infolist()):
            raise NotThisFileError("the file is protected by a password; save it without one")
        book = _part(archive, "xl/workbook.xml")
        relations = {
            attributes["Id"]: (attributes["Type"].rpartition("/")[2], _absolute(attributes["Target"]))
            for name, attributes in _part(archive, "xl/_rels/workbook.xml.rels")
            if name == "Relationship"
        }
        texts = _texts(archive, next((part for kind, part in relations.values() if kind == "sharedStrings"), None))
        epoch = EPOCH_1904 if _counts_from_1904(book) else EPOCH_1900
        for name, attributes in book:
            if name == "sheet":
                identifier = next((attributes[key] for key in attributes if key.endswith(":id")), "")
                kind, part = relations.get(identifier, ("", ""))
                if kind == "worksheet":
                    yield XlsxSheet(archive, part, attributes.get("name", ""), texts, epoch)


class XlsxSheet:
    """A worksheet of an open workbook."""

    def __init__(self, archive: zipfile.ZipFile, part: str, name: str, texts: SharedTexts, epoch: date) -> None:
        """`part` names the sheet's file within the archive; `texts` are the workbook's shared texts."""
        self._archive = archive
        self._part = part
        self._texts = texts
        self.name = name
        self.epoch = epoch

    def head(self, limit: int) -> list[NumberedRow]:
        """The first rows that are not empty."""
        return list(islice(self._rows(0, None), limit))

    def rows(self, after: int, columns: Sequence[int]) -> Iterator[NumberedRow]:
        """The rows below row `after`."""
        return self._rows(after, columns)

    def _rows(self, after: int, columns: Sequence[int] | None) -> Iterator[NumberedRow]:
        with damage_refused(), _opened(self._archive, self._part) as file:
            prefix, start = prefix_of(file, b"worksheet")
            reader = RowReader(prefix, columns, self._texts)
            number = 0
            for count, piece in enumerate(
                pieces(file, start, b"</" + prefix + b"row>", b"</" + prefix + b"sheetData>"), start=1
            ):
                number, cells = reader.read(piece, number)
                if count > _MOST_ROWS or number > _MOST_ROWS:
                    raise NotThisFileError(f"sheet {self.name!r} has more than {_MOST_ROWS:,} rows")
                if cells is not None and number > after:
                    yield number, cells


def _opened(archive: zipfile.ZipFile, part: str) -> IO[bytes]:
    try:
        return archive.open(part)
    except (KeyError, RuntimeError):
        raise NotThisFileError(f"the file is not a complete XLSX workbook: {part} cannot be read") from None


def _absolute(target: str) -> str:
    return posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")


def _part(archive: zipfile.ZipFile, name: str) -> list[tuple[str, dict[str, str]]]:
    """All elements of a small part, without their prefixes, in order."""
    with _opened(archive, name) as file:
        content = file.read(_LARGEST_PART + 1)
    if len(content) > _LARGEST_PART:
        raise NotThisFileError(f"{name} has more than {_LARGEST_PART:,} bytes")
    found: list[tuple[str, dict[str, str]]] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: found.append((tag.rpartition(":")[2], attributes))
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise NotThisFileError(f"the file is damaged or incomplete: {name}: {error}") from error
    return found


def _refuse_doctype(*_: object) -> None:
    raise NotThisFileError("the workbook has a document type, which no spreadsheet program writes")


def _counts_from_1904(book: list[tuple[str, dict[str, str]]]) -> bool:
    return any(name == "workbookPr" and one.get("date1904") in ("1", "true") for name, one in book)


def _texts(archive: zipfile.ZipFile, part: str | None) -> SharedTexts:
    """The workbook's shared texts; a cell names one by its place in this list."""
    found = SharedTexts()
    if part is None:
        return found
    with _opened(archive, part) as file:
        prefix, start = prefix_of(file, b"sst")
        for piece in pieces(file, start, b"</" + prefix + b"si>", b"</" + prefix + b"sst>"):
            for _ in range(piece.count(b"<" + prefix + b"si/>")):
                found.append("")
            found.append(plain_text(texts_of(piece, prefix)))
            if len(found) > _MOST_TEXTS or found.size > _MOST_TEXT_BYTES:
                raise NotThisFileError("the workbook has more text than memory is set aside for; save it as .csv")
    return found
