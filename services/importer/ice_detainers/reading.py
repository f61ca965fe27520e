"""A released file, sheet by sheet and row by row: each row gives its events or one reject."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from schemas.a_number import has_a_number
from schemas.week import ReportingCalendar
from services.importer.facilities import resolve
from services.importer.files import InputFile
from services.importer.ice_detainers import layouts
from services.importer.ice_detainers.identity import Identities
from services.importer.ice_detainers.layouts import Header
from services.importer.ice_detainers.mapping import ColumnMapping
from services.importer.ice_detainers.meaning import Detainer, Reader, Refusal
from services.importer.ice_values import events
from services.importer.rows import NotThisFileError, Reject, Row
from services.importer.tables import Cell, Misfit, Sheet, sheets
from services.runtime import clock

_DEEPEST_HEADER = 50
"""Rows that are searched for the header, so that a preamble may have any length."""
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A recognized sheet: its rows, the row of its header, and the header."""

    sheet: Sheet
    part: str
    row: int
    header: Header


def read(
    file: InputFile,
    agency: str,
    dataset: str,  # noqa: ARG001  # as every profile
    calendar: ReportingCalendar,
    mapping: ColumnMapping | None = None,
) -> Iterator[Row]:
    """All rows of all sheets in order; a bad row is a reject and ends nothing.

    `dataset` has no part in the identities: they are those of the rows in any release. Raises NotThisFileError for a
    damaged file, or one in which a sheet has no header of a known layout.
    """
    given = mapping or ColumnMapping()
    today = clock.system().astimezone(calendar.zone).date()
    identities = Identities(agency)
    resolve("A PLACE", "TEXAS", "HOUSTON")  # loads the gazetteer, at its peak of memory, before the workbook's texts
    number = 0
    for found in recognize(file, given):
        fields = tuple(found.header.columns)
        reader = Reader(fields, calendar.zone, today, given)
        for line, cells in found.sheet.rows(found.row, tuple(found.header.columns.values())):
            number += 1
            yield _row(number, found, line, _understood(reader, cells, found.sheet.epoch), identities)


def describe(file: InputFile, mapping: ColumnMapping | None = None) -> list[str]:
    """One sentence for each sheet: its layout, what it lacks, and columns that no layout has."""
    return [_sentence(found) for found in recognize(file, mapping or ColumnMapping())]


def recognize(file: InputFile, mapping: ColumnMapping) -> Iterator[Found]:
    """The sheets that have rows, each with its header. Raises NotThisFileError when one fits no layout."""
    any_found = False
    for index, sheet in enumerate(sheets(file), 1):
        if sheet.name in mapping.ignore_sheets:
            continue
        head = sheet.head(_DEEPEST_HEADER)
        if not head:
            continue
        name = f"sheet {index}" if not sheet.name or has_a_number(sheet.name) else f"sheet {sheet.name!r}"
        where = f"{name}: " if sheet.name else ""
        rows = ((line, cells) for line, cells in head if isinstance(cells, list))
        row, cells = max(rows, key=lambda one: _known(one[1], mapping))
        if not layouts.is_header(cells, mapping.columns):
            raise NotThisFileError(
                f"{where}no header of a detainer file in the first {_DEEPEST_HEADER} rows. A --mapping file can name "
                "the columns, or the sheet in ignore_sheets"
            )
        header = layouts.recognize(cells, where, mapping.columns)
        layout = mapping.name or f"layout {header.layout}"
        any_found = True
        yield Found(sheet, f"{name}, {layout}" if sheet.name else layout, row, header)
    if not any_found:
        raise NotThisFileError("the file has no sheet with rows")


def _known(cells: list[Cell], mapping: ColumnMapping) -> int:
    given = {layouts.spelling(name) for name in mapping.columns.values()}
    return layouts.known_names(cells) + len(given & {layouts.spelling(cell) for cell in cells})


def _sentence(found: Found) -> str:
    header = found.header
    lacking = f"; without {', '.join(header.absent)}" if header.absent else ""
    named = ", ".join(header.unknown[:_MOST_NAMED]) + (", ..." if len(header.unknown) > _MOST_NAMED else "")
    ignored = f"; columns of no layout, ignored: {named}" if header.unknown else ""
    return f"{found.part}, header in row {found.row}{lacking}{ignored}"


def _understood(reader: Reader, cells: list[Cell] | Misfit, epoch: date) -> Detainer | Refusal:
    if isinstance(cells, Misfit):
        return Refusal("", "wrong-columns", f"{cells.found} cells, the header has {cells.expected}")
    return reader.read(cells, epoch)


def _row(number: int, found: Found, line: int, meaning: Detainer | Refusal, identities: Identities) -> Row:
    if isinstance(meaning, Refusal):
        reject = Reject(number, meaning.field, meaning.reason, meaning.detail)
        return Row(number, (), reject, part=found.part, line=line)
    identity = identities.next(meaning.described)
    data = {"detainer_id": identity.detainer_id, "version": 1, **meaning.data}
    made = events(data, meaning.lift)
    return Row(number, made, None, part=found.part, line=line, marks=meaning.marks, identity=identity)
