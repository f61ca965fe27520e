"""One error for damaged archives."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from services.importer.rows import NotThisFileError


@contextmanager
def damage_refused() -> Iterator[None]:
    """Turn the errors of damaged or encrypted archives into NotThisFileError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise NotThisFileError(f"the file is damaged or incomplete: {error}") from error
