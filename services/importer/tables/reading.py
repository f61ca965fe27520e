"""Opens a table file in the format that its first bytes name."""

from __future__ import annotations

from collections.abc import Iterator

from services.importer.files import InputFile
from services.importer.rows import NotThisFileError
from services.importer.tables import delimited, parquet, xlsx
from services.importer.tables.sheet import Sheet

_ZIP = b"PK\x03\x04"
_PARQUET = b"PAR1"
_OLE = b"\xd0\xcf\x11\xe0"


def sheets(file: InputFile) -> Iterator[Sheet]:
    """The sheets of an XLSX, CSV (plain or gzip) or Parquet file, in the file's order.

    Raises NotThisFileError for a damaged, encrypted or oversized file and for another format, OSError for a file that
    cannot be read. A sheet raises them too while it is read.
    """
    with file.path.open("rb") as beginning:
        magic = beginning.read(4)
    if magic == _OLE:
        raise NotThisFileError(
            "the file is protected by a password or is an old .xls workbook; open it in a spreadsheet program and save "
            "it as .xlsx without a password, or as .csv"
        )
    if magic == _ZIP:
        yield from xlsx.sheets(file)
    elif magic == _PARQUET:
        yield from parquet.sheets(file)
    else:
        yield delimited.DelimitedSheet(file)
