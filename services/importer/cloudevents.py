"""Profile `cloudevents`: a file of complete CloudEvents, one per line (JSON Lines). Each is sent unchanged."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from collections.abc import Iterator

from schemas.acceptance import MAX_EVENT_BYTES
from schemas.week import ReportingCalendar
from services.importer.files import InputFile
from services.importer.rows import NotThisFileError, Reject, Row


def read(
    file: InputFile,
    agency: str,  # noqa: ARG001  # the signature of all profiles
    dataset: str,  # noqa: ARG001
    calendar: ReportingCalendar,  # noqa: ARG001
) -> Iterator[Row]:
    """One row for each line that is not blank, with the number of the line. Ingest validates the events.

    Raises NotThisFileError if the first of these lines is not a JSON object or the file is damaged.
    """
    with file.open() as content:
        yield from _rows(content)


def _rows(content: io.BufferedIOBase) -> Iterator[Row]:
    first = True
    for number, line in enumerate(_lines(content), start=1):
        text = line.strip().removeprefix(BOM_UTF8).strip()
        if not text:
            continue
        if first and not text.startswith(b"{"):
            raise NotThisFileError(f"line {number} is not a CloudEvent: write each event as a JSON object on one line")
        first = False
        if len(text) > MAX_EVENT_BYTES:
            reject = Reject(number, "", "too-large", f"an event has at most {MAX_EVENT_BYTES} bytes")
            yield Row(number, (), reject)
        else:
            yield Row(number, (), None, text)


def _lines(content: io.BufferedIOBase) -> Iterator[bytes]:
    """The lines. A line that is too long is cut, which bounds the memory."""
    while line := content.readline(2 * MAX_EVENT_BYTES):
        rest = line
        while not rest.endswith(b"\n") and (rest := content.readline(MAX_EVENT_BYTES)):
            pass
        yield line
