"""CSV files: comma, semicolon, tab or pipe; UTF-8, UTF-16 with a mark, or Windows-1252; plain or gzip."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice

from services.importer.files import InputFile
from services.importer.rows import NotThisFileError
from services.importer.tables.damage import damage_refused
from services.importer.tables.sheet import EPOCH_1900, Cell, Misfit, NumberedRow

_LONGEST_LINE = 1 << 20
"""Characters. A longer line is no table; without the limit a file of zeros would fill the memory."""
_DELIMITERS = ",;\t|"
_SAMPLE = 1 << 16


def _windows(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are not UTF-8 are taken as Windows-1252, the other common encoding of such files."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("windows-1252", _windows)


class DelimitedSheet:
    """The one sheet of a CSV file."""

    name = ""

    def __init__(self, file: InputFile) -> None:
        """`file` may be gzipped."""
        self._file = file

    @property
    def epoch(self) -> date:
        """A number in a CSV file that is a date counts from the usual day 0."""
        return EPOCH_1900

    def head(self, limit: int) -> list[NumberedRow]:
        """The first rows that are not empty."""
        return [(number, list(cells)) for number, cells in islice(self._records(), limit)]

    def rows(self, after: int, columns: Sequence[int]) -> Iterator[NumberedRow]:
        """The rows below row `after`; a row must have as many cells as that one, but for empty ones at its end."""
        width = 0
        for number, cells in self._records():
            if number < after:
                continue
            if number == after:
                width = len(cells)
            elif len(cells) < width or any(cells[width:]):
                yield number, Misfit(len(cells), width)
            else:
                chosen: list[Cell] = [cells[column] for column in columns]
                yield number, chosen

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        with damage_refused(), self._file.open() as file:
            sample = file.read(_SAMPLE)
            file.seek(0)
            wide = sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            text = io.TextIOWrapper(file, encoding="utf-16" if wide else "utf-8-sig", errors="windows-1252", newline="")
            reader = csv.reader(_lines(text), delimiter=_delimiter(sample))
            try:
                for number, cells in enumerate(reader, 1):
                    if any(cells):
                        yield number, cells
            except csv.Error as error:
                raise NotThisFileError(f"line {reader.line_num}: {error}") from error


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise NotThisFileError(f"a line has more than {_LONGEST_LINE:,} characters; the file is not a table")
        yield line


def _delimiter(sample: bytes) -> str:
    """The sign that occurs most often in the beginning of the file."""
    return max(_DELIMITERS, key=lambda sign: sample.count(sign.encode()))
