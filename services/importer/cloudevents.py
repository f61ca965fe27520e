"""Profile `cloudevents`: a file of whole CloudEvents, one a line (JSON Lines), each sent as it is."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from schemas.acceptance import MAX_EVENT_BYTES
from services.importer.rows import NotThisFileError, Reject, Row

_GZIP_MAGIC = b"\x1f\x8b"


def read(path: Path, agency: str, dataset: str, zone: ZoneInfo) -> Iterator[Row]:  # noqa: ARG001  # as every profile
    """One row for each line that is not blank; its number is the line's. What is in it is for ingest to judge.

    Raises NotThisFileError when the first of them is no JSON object, or the file is damaged.
    """
    with path.open("rb") as plain:
        zipped = plain.read(2) == _GZIP_MAGIC
        plain.seek(0)
        try:
            with gzip.open(plain) if zipped else plain as file:
                yield from _rows(file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise NotThisFileError(f"the compressed file is damaged: {error}") from error


def _rows(file: io.BufferedIOBase) -> Iterator[Row]:
    first = True
    for number, line in enumerate(_lines(file), start=1):
        text = line.strip()
        if not text:
            continue
        if first and not text.startswith(b"{"):
            raise NotThisFileError(f"line {number} must be a CloudEvent: a JSON object on one line")
        first = False
        if len(text) > MAX_EVENT_BYTES:
            reject = Reject(number, "", "too-large", f"an event has at most {MAX_EVENT_BYTES} bytes")
            yield Row(number, (), reject)
        else:
            yield Row(number, (), None, text)


def _lines(file: io.BufferedIOBase) -> Iterator[bytes]:
    """Lines, of one that is too long only the beginning."""
    while line := file.readline(2 * MAX_EVENT_BYTES):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(MAX_EVENT_BYTES)):
            pass
        yield line
