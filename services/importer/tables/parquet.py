"""Parquet files, by pyarrow (the optional extra `files`), a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

from services.importer.files import InputFile
from services.importer.rows import NotThisFileError
from services.importer.tables.sheet import EPOCH_1900, Cell, NumberedRow

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_BATCH = 1_024
_LARGEST_CHUNK = 1 << 30
"""Uncompressed bytes of one column in one row group, as the file's footer states them."""


def sheets(file: InputFile) -> Iterator[ParquetSheet]:
    """The one sheet of the file. Raises NotThisFileError for a damaged file or when pyarrow is not installed."""
    yield ParquetSheet(file)


class ParquetSheet:
    """The columns' names are row 0, so the first row of data is row 1."""

    name = ""

    def __init__(self, file: InputFile) -> None:
        self._file = file

    @property
    def epoch(self) -> date:
        """Day 0 of a number that is a date."""
        return EPOCH_1900

    def head(self, limit: int) -> list[NumberedRow]:
        """The columns' names alone."""
        with _opened(self._file) as file:
            names: list[Cell] = list(file.schema_arrow.names)
            row: NumberedRow = (0, names)
            return [row][:limit]

    def rows(self, after: int, columns: Sequence[int]) -> Iterator[NumberedRow]:
        """All rows of data; `after` is 0. Raises NotThisFileError when one of these columns is nested."""
        with _opened(self._file) as file:
            names = file.schema_arrow.names
            chosen = [names[column] for column in columns]
            _check(file, chosen)
            number = after
            for batch in file.iter_batches(_BATCH, columns=chosen, use_threads=False):
                values = [batch.column(name).to_pylist() for name in chosen]
                for cells in zip(*values, strict=True):
                    number += 1
                    yield number, [_cell(cell) for cell in cells]


@contextmanager
def _opened(file: InputFile) -> Iterator[ParquetFile]:
    try:
        from pyarrow import ArrowException  # noqa: PLC0415  # optional, and slow to import
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError:
        raise NotThisFileError(
            "reading Parquet needs pyarrow: pip install 'weekly-detainer-report[files]', or save the file as .csv"
        ) from None
    try:
        with file.open_raw() as raw, ParquetFile(raw, pre_buffer=False) as opened:
            yield opened
    except (ArrowException, OSError) as error:
        raise NotThisFileError(f"the Parquet file is damaged or incomplete: {str(error).splitlines()[0]}") from error


def _check(file: ParquetFile, chosen: Sequence[str]) -> None:
    schema = file.schema_arrow
    for name in chosen:
        kind = schema.field(name).type
        if kind.num_fields and not str(kind).startswith("dictionary"):
            raise NotThisFileError(f"column {name} is nested ({kind}); it must hold single values")
    for group in range(file.metadata.num_row_groups):
        part = file.metadata.row_group(group)
        for index in range(part.num_columns):
            chunk = part.column(index)
            if chunk.path_in_schema in chosen and chunk.total_uncompressed_size > _LARGEST_CHUNK:
                raise NotThisFileError(f"column {chunk.path_in_schema} has more than {_LARGEST_CHUNK:,} bytes a group")


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, str | date):
        return value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return float(value)
    return str(value)
