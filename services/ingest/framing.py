"""How a body is framed: its media type, its compression, its events. Pure: bytes in, bytes out."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

import msgspec
import zstandard

from schemas.acceptance import MAX_EVENT_BYTES
from services.ingest.blocks import Blocks, NotZstdError

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"
BINARY = "application/json"
"""With `ce-` headers: an event in CloudEvents binary mode."""

MAX_BODY_BYTES = 1_048_576
MAX_BATCH = 1_000
MAX_RATIO = 100
_RATIO_FROM = 1_048_576
_PIECE = 262_144
"""What is decompressed at once, at most: others have their turn between two pieces."""
_PACKED = 8_192
"""Of how many compressed bytes that is: empty members, frames and blocks stand for nothing, and cost time."""
_PORTION = 32_768
"""What is cut into lines at once: short lines are objects many times their size."""


class FramingError(Exception):
    """The body cannot be taken apart. `status` is the HTTP status, `code` stable, the message says what must be so."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class Inflator(Protocol):
    """Decompresses piece by piece.

    `feed` may answer empty pieces: what it does between two pieces, empty ones too, takes little memory and time.
    """

    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class Plain:
    """No compression."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes as they are."""
        yield data

    def finish(self) -> None:
        """Nothing can be missing."""


class _Packed(ABC):
    """Decompresses, and watches how much comes out of how little: a small body must not fill the memory."""

    def __init__(self) -> None:
        self._read = 0
        self._made = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` expands to, in pieces of at most 256 kB."""
        for start in range(0, len(data), _PACKED):
            yield from self._feed(data[start : start + _PACKED])
            yield b""

    @abstractmethod
    def _feed(self, data: bytes) -> Iterator[bytes]:
        """The same of a part of it."""

    def _check(self, read: int, made: int) -> None:
        self._read += read
        self._made += made
        if self._made > _RATIO_FROM and self._made > MAX_RATIO * self._read:
            raise FramingError(413, "expands-too-much", f"a body may expand to {MAX_RATIO} times its size")


class Gzip(_Packed):
    """Content-Encoding: gzip, members one behind the other included."""

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(wbits=31)

    def _feed(self, data: bytes) -> Iterator[bytes]:
        fresh = len(data)
        try:
            while data:
                if self._member.eof:
                    self._member = zlib.decompressobj(wbits=31)
                piece = self._member.decompress(data, _PIECE)
                self._check(fresh, len(piece))
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


class Zstd(_Packed):
    """Content-Encoding: zstd, with a window of at most 8 MB (RFC 9659)."""

    def __init__(self) -> None:
        super().__init__()
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1_048_576)
        self._frame = self._decompressor.decompressobj()
        self._blocks = Blocks()
        self._started = False

    def _feed(self, data: bytes) -> Iterator[bytes]:
        try:
            for part in self._blocks.cut(data):  # of which each expands to one block
                yield from self._part(part)
        except (zstandard.ZstdError, NotZstdError):
            raise FramingError(400, "bad-compression", "the body is not zstd") from None

    def _part(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._started = True
            piece = self._frame.decompress(data)
            rest = self._frame.unused_data if self._frame.eof else b""
            self._check(len(data) - len(rest), len(piece))
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
_LONGEST = MAX_EVENT_BYTES + 1


class Lines:
    """Cuts NDJSON into lines, whatever pieces it comes in. Of a line that is too long only the beginning is kept.

    Blanks around an event are not part of it, and neither is the carriage return of a line break; a line may have no
    more than one of them beyond the length of the longest event.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._number = 0

    def feed(self, piece: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Complete lines with their numbers, from 1; None for a line that is too long. Blank lines are passed over.

        Lines are cut as they are asked for: ask for all of them before the next piece is fed.
        """
        for start in range(0, len(piece), _PORTION):
            parts = piece[start : start + _PORTION].split(b"\n")
            parts[0] = self._rest + parts[0]
            self._rest = parts.pop()[: _LONGEST + 1]
            number, self._number = self._number, self._number + len(parts)
            for part in parts:
                number += 1
                if len(part) > _LONGEST:
                    yield number, None
                elif text := part.strip(_BLANKS):
                    yield number, text if len(text) <= MAX_EVENT_BYTES else None

    def finish(self) -> Iterator[tuple[int, bytes | None]]:
        """The last line, if no line break ends it."""
        return self.feed(b"\n")
