"""Table files as sheets of rows: XLSX, CSV (plain or gzip) and Parquet, read as streams in bounded memory.

The format is recognized by the file's first bytes, never by its name.
"""

from services.importer.tables.reading import sheets
from services.importer.tables.sheet import Cell, Misfit, NumberedRow, Sheet

__all__ = ["Cell", "Misfit", "NumberedRow", "Sheet", "sheets"]
