"""Cuts a large XML part into the pieces between closing tags, without building a tree or holding more than one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from services.importer.rows import NotThisFileError

_CHUNK = 1 << 18
_LONGEST = 4 << 20
"""Bytes of one piece: far above a row of full cells. It bounds memory for any file."""
_ROOT = re.compile(rb"<([A-Za-z_][\w.-]*:)?([A-Za-z]\w*)[\s>/]")
_DECLARED = re.compile(rb"encoding\s*=\s*[\"']([\w-]+)")


def prefix_of(file: IO[bytes], root: bytes) -> tuple[bytes, bytes]:
    """The namespace prefix of the part's root element (such as ``x:``, usually empty), and the bytes read to find it.

    Raises NotThisFileError when the root is another or the encoding is not UTF-8.
    """
    start = file.read(_CHUNK)
    declared = _DECLARED.search(start[:200])
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or (declared and declared[1].lower() != b"utf-8"):
        raise NotThisFileError("the workbook is not in UTF-8; save it again with a spreadsheet program, or as .csv")
    found = _ROOT.search(start)
    if found is None or found[2] != root:
        raise NotThisFileError(f"the file is not an XLSX workbook: a part does not begin with <{root.decode()}>")
    return found[1] or b"", start


def pieces(file: IO[bytes], start: bytes, end: bytes, close: bytes) -> Iterator[bytes]:
    """What lies before each `end` tag, one by one. `start` are bytes already read; all ends with the tag `close`.

    Raises NotThisFileError for a piece that is too long, or when the file ends before `close`.
    """
    rest, closed, chunk = b"", False, start
    while chunk:
        if closed:  # read to the end, which compares the archive's checksum
            chunk = file.read(_CHUNK)
            continue
        *whole, rest = (rest + chunk).split(end)
        yield from whole
        closed = close in rest or _is_empty(rest, close)
        if not closed and len(rest) > _LONGEST:
            raise NotThisFileError(f"a row or text has more than {_LONGEST:,} bytes; the file is not a table")
        chunk = file.read(_CHUNK)
    if not closed or _is_unfinished(rest, end):
        raise NotThisFileError("the file is damaged or incomplete: a part ends within its rows")


def _is_empty(rest: bytes, close: bytes) -> bool:
    """Whether the element that `close` ends was written as one empty tag."""
    return re.search(rb"<" + re.escape(close[2:-1]) + rb"(\s[^>]*)?/>", rest) is not None


def _is_unfinished(rest: bytes, end: bytes) -> bool:
    """Whether an element that `end` ends begins in `rest`."""
    return re.search(rb"<" + re.escape(end[2:-1]) + rb"(\s[^>]*)?(?<!/)>", rest) is not None
