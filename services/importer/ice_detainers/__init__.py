"""Profile `ice-detainers`: detainers as Immigration and Customs Enforcement released them from 2023 on.

XLSX, CSV or Parquet. The layout is recognized by the header (`layouts.toml`); a mapping file names the columns of
other tables. Nothing is guessed: what a row does not say is not known, and a row that cannot be counted is a reject.
"""

from services.importer.ice_detainers.mapping import ColumnMapping, load
from services.importer.ice_detainers.reading import describe, read

__all__ = ["ColumnMapping", "describe", "load", "read"]
