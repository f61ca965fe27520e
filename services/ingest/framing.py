"""How a body is framed: its media type, its compression, its events. Pure: bytes in, bytes out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import msgspec
import zstandard

from schemas.acceptance import MAX_EVENT_BYTES

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"
BINARY = "application/json"
"""With `ce-` headers: an event in CloudEvents binary mode."""

MAX_BODY_BYTES = 1_048_576
MAX_BATCH = 1_000
MAX_RATIO = 100
_RATIO_FROM = 1_048_576
_ZSTD_SLICE = 256
"""So few compressed bytes at once that what they expand to is bounded: a zstd block of 3 bytes can stand for 128 kB."""
_PIECE = 262_144


class FramingError(Exception):
    """The body cannot be taken apart. `status` is the HTTP status, `code` stable, the message says what must be so."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class Inflator(Protocol):
    """Decompresses piece by piece."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class Plain:
    """No compression."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes as they are."""
        yield data

    def finish(self) -> None:
        """Nothing can be missing."""


class _Bounded:
    """Watches how much comes out of how little: a small body must not fill the memory."""

    def __init__(self) -> None:
        self._read = 0
        self._made = 0

    def check(self, read: int, made: int) -> None:
        self._read += read
        self._made += made
        if self._made > _RATIO_FROM and self._made > MAX_RATIO * self._read:
            raise FramingError(413, "expands-too-much", f"a body may expand to {MAX_RATIO} times its size")


class Gzip(_Bounded):
    """Content-Encoding: gzip, members one behind the other included."""

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` expands to, in pieces of at most 256 kB."""
        fresh = len(data)
        try:
            while data:
                if self._member.eof:
                    self._member = zlib.decompressobj(wbits=31)
                piece = self._member.decompress(data, _PIECE)
                self.check(fresh, len(piece))
                fresh = 0
                data = self._member.unconsumed_tail or self._member.unused_data
                if piece:
                    yield piece
        except zlib.error:
            raise FramingError(400, "bad-compression", "the body is not gzip") from None

    def finish(self) -> None:
        """FramingError when the body ends within a member."""
        if not self._member.eof:
            raise FramingError(400, "bad-compression", "the gzip body is cut off")


class Zstd(_Bounded):
    """Content-Encoding: zstd, with a window of at most 8 MB (RFC 9659)."""

    def __init__(self) -> None:
        super().__init__()
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1_048_576)
        self._frame = self._decompressor.decompressobj()
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` expands to, in pieces."""
        try:
            for start in range(0, len(data), _ZSTD_SLICE):
                yield from self._slice(data[start : start + _ZSTD_SLICE])
        except zstandard.ZstdError:
            raise FramingError(400, "bad-compression", "the body is not zstd") from None

    def _slice(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._started = True
            piece = self._frame.decompress(data)
            rest = self._frame.unused_data if self._frame.eof else b""
            self.check(len(data) - len(rest), len(piece))
            data = rest
            if piece:
                yield piece

    def finish(self) -> None:
        """FramingError when the body ends within a frame."""
        if self._started and not self._frame.eof:
            raise FramingError(400, "bad-compression", "the zstd body is cut off")


_ENCODINGS: dict[str, type[Plain] | type[Gzip] | type[Zstd]] = {
    "": Plain, "identity": Plain, "gzip": Gzip, "x-gzip": Gzip, "zstd": Zstd,
}  # fmt: skip


def inflator(encoding: str) -> Inflator:
    """The decompressor for a Content-Encoding; FramingError 415 for another than gzip and zstd."""
    kind = _ENCODINGS.get(encoding.strip().lower())
    if kind is None:
        raise FramingError(415, "unsupported-encoding", "Content-Encoding must be gzip, zstd or absent")
    return kind()


def split(body: bytes) -> list[bytes]:
    """The elements of a JSON array, each as its own bytes; FramingError when it is none or has too many."""
    try:
        elements = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        raise FramingError(400, "not-a-batch", "the body must be a JSON array of CloudEvents") from None
    if not elements:
        raise FramingError(400, "not-a-batch", "the batch is empty")
    if len(elements) > MAX_BATCH:
        raise FramingError(413, "batch-too-long", f"a batch has at most {MAX_BATCH} events; send {LINES} instead")
    return [bytes(element) for element in elements]


_BLANKS = b" \t\r"


class Lines:
    """Cuts NDJSON into lines, whatever pieces it comes in. A line that is too long is let go as it comes.

    Blanks around an event are not part of it, and neither is the carriage return of a line break; a line may have no
    more than one of them beyond the length of the longest event.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._number = 0
        self._skipping = False

    def feed(self, piece: bytes) -> list[tuple[int, bytes | None]]:
        """Complete lines with their numbers, from 1; None for a line that is too long. Blank lines are passed over."""
        parts = piece.split(b"\n")
        if self._skipping:
            if len(parts) == 1:
                return []
            parts[0] = b""
            self._rest = b""
            skipped: list[tuple[int, bytes | None]] = [(self._next(), None)]
            parts.pop(0)
            self._skipping = False
        else:
            parts[0] = self._rest + parts[0]
            skipped = []
        self._rest = parts.pop()
        lines = skipped + [self._line(part) for part in parts]
        if len(self._rest) > MAX_EVENT_BYTES + 1:
            self._rest = b""
            self._skipping = True
        return [line for line in lines if line[1] != b""]

    def finish(self) -> list[tuple[int, bytes | None]]:
        """The last line, if no line break ends it."""
        if self._skipping:
            return [(self._next(), None)]
        last = self._line(self._rest)
        return [last] if last[1] != b"" else []

    def _line(self, text: bytes) -> tuple[int, bytes | None]:
        if len(text) > MAX_EVENT_BYTES + 1:
            return self._next(), None
        text = text.strip(_BLANKS)
        return self._next(), None if len(text) > MAX_EVENT_BYTES else text

    def _next(self) -> int:
        self._number += 1
        return self._number
