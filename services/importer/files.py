"""The file of an import: plain or gzipped. It counts the bytes read, for the progress bar."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from services.importer.rows import NotThisFileError

_GZIP_MAGIC = b"\x1f\x8b"


class InputFile:
    """A published file. It may be gzipped; the content decides, not the name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: BinaryIO | None = None
        self._bytes_read = 0

    @property
    def bytes_total(self) -> int:
        """The size of the file on disk, compressed if it is gzipped."""
        return self.path.stat().st_size

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file on disk have been read, read-ahead included."""
        return self._bytes_read if self._opened is None else self._opened.tell()

    @contextmanager
    def open_raw(self) -> Iterator[BinaryIO]:
        """Open the file without decompressing it, for formats that seek."""
        with self.path.open("rb") as plain:
            self._opened = plain
            try:
                yield plain
            finally:
                self._bytes_read = plain.tell()
                self._opened = None

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader | gzip.GzipFile]:
        """Open the file and decompress it. Raises NotThisFileError in the block if the compressed data are damaged."""
        with self.path.open("rb") as plain:
            gzipped = plain.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            plain.seek(0)
            self._opened = plain
            try:
                yield gzip.GzipFile(fileobj=plain) if gzipped else plain
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise NotThisFileError(f"the compressed file is damaged: {error}") from error
            finally:
                self._bytes_read = plain.tell()
                self._opened = None
