"""NDJSON: splits a body that arrives in pieces into lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.acceptance import MAX_EVENT_BYTES

BOM = b"\xef\xbb\xbf"
"""A byte order mark, which some tools write before UTF-8 text. It is not part of a body or line (RFC 8259, 8.1)."""
_BLANKS = b" \t\r"
_LONGEST = MAX_EVENT_BYTES + 1
_PORTION = 32_768
"""Bytes that are split into lines at once: short lines become objects of many times their size."""

Line = tuple[int, bytes | None]
"""A line's number, from 1, and its content; None if the line is too long."""


class LineSplitter:
    """Splits a body into lines, independent of how it is divided into pieces.

    Blanks around an event are removed, and so are the carriage return of a line break and a byte order mark at the
    beginning of any line, because files with a mark may be concatenated. A line may be one byte longer than the longest
    event. Only the beginning of a longer line is stored.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._number = 0

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The complete lines with their numbers; None for a line that is too long. Blank lines are skipped.

        The iterator is lazy: exhaust it before the next call.
        """
        for start in range(0, len(piece), _PORTION):
            portion = piece[start : start + _PORTION]
            marked = BOM[:1] in portion or self._rest.startswith(BOM[:1])
            parts = portion.split(b"\n")
            parts[0] = self._rest + parts[0]
            self._rest = parts.pop()[: _LONGEST + len(BOM) + 1]
            if marked:
                parts = [part.removeprefix(BOM) for part in parts]
            number, self._number = self._number, self._number + len(parts)
            for part in parts:
                number += 1
                if len(part) > _LONGEST:
                    yield number, None
                elif text := part.strip(_BLANKS):
                    yield number, text if len(text) <= MAX_EVENT_BYTES else None

    def finish(self) -> Iterator[Line]:
        """The last line, if no line break ends it."""
        return self.feed(b"\n")
