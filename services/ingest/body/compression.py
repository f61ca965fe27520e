"""Content-Encoding: streaming decompression with bounded memory and a limit on the expansion ratio. Pure."""

from __future__ import annotations

import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

from services.ingest.body.errors import FramingError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_RATIO = 100
_RATIO_FROM = 1_048_576
_MAX_PIECE = 262_144
"""Maximum size of one decompressed piece, in bytes. The caller yields to other tasks after each piece."""
_MAX_INPUT = 8_192
"""Maximum compressed bytes between two pieces. Empty members, frames and blocks take time but produce no output."""


class Inflator(Protocol):
    """Decompresses piece by piece.

    `feed` may return empty pieces. The work between two pieces, empty ones included, is short and needs little memory.
    """

    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class Plain:
    """No compression."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes unchanged."""
        yield data

    def finish(self) -> None:
        """A plain body is always complete."""


class _Packed(ABC):
    """Limits the expansion ratio, so that a small body cannot exhaust memory."""

    def __init__(self) -> None:
        self._read = 0
        self._made = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decompressed bytes of `data`, in pieces of at most 256 kB. Raises FramingError."""
        for start in range(0, len(data), _MAX_INPUT):
            yield from self._feed(data[start : start + _MAX_INPUT])
            yield b""

    @abstractmethod
    def _feed(self, data: bytes) -> Iterator[bytes]:
        """Decompress at most `_MAX_INPUT` bytes."""

    def _check(self, read: int, made: int) -> None:
        self._read += read
        self._made += made
        if self._made > _RATIO_FROM and self._made > MAX_RATIO * self._read:
            raise FramingError(413, "expands-too-much", f"a body may expand to {MAX_RATIO} times its size")


class Gzip(_Packed):
    """Content-Encoding: gzip. Allows several members, and zero bytes after a member."""

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(wbits=31)

    def _feed(self, data: bytes) -> Iterator[bytes]:
        fresh = len(data)
        try:
            while data:
                if self._member.eof:
                    data = data.lstrip(b"\0")  # padding to a block size, which gzip itself ignores
                    if not data:
                        break
                    self._member = zlib.decompressobj(wbits=31)
                piece = self._member.decompress(data, _MAX_PIECE)
                self._check(fresh, len(piece))
                fresh = 0
                data = self._member.unconsumed_tail or self._member.unused_data
                if piece:
                    yield piece
        except zlib.error:
            raise FramingError(400, "bad-compression", "the body is not gzip") from None

    def finish(self) -> None:
        """Raise FramingError if the body ends inside a member."""
        if not self._member.eof:
            raise FramingError(400, "bad-compression", "the gzip body is cut off")


_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
"""A window of at most 8 MB (RFC 9659)."""


class Zstd(_Packed):
    """Content-Encoding: zstd, with a window of at most 8 MB. Allows several frames and skippable frames."""

    def __init__(self) -> None:
        super().__init__()
        self._frame = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        self._started = False

    def _feed(self, data: bytes) -> Iterator[bytes]:
        self._started = True
        try:
            while data or not (self._frame.needs_input or self._frame.eof):
                if self._frame.eof:
                    self._frame = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
                piece = self._frame.decompress(data, _MAX_PIECE)
                rest = self._frame.unused_data
                self._check(len(data) - len(rest), len(piece))
                data = rest
                if piece or rest:  # a decompressor takes 20 us to create, so empty frames are slow
                    yield piece
        except zstd.ZstdError:
            raise FramingError(400, "bad-compression", "the body is not zstd") from None

    def finish(self) -> None:
        """Raise FramingError if the body ends inside a frame."""
        if self._started and not self._frame.eof:
            raise FramingError(400, "bad-compression", "the zstd body is cut off")


_ENCODINGS: dict[str, type[Plain] | type[Gzip] | type[Zstd]] = {
    "": Plain, "identity": Plain, "gzip": Gzip, "x-gzip": Gzip, "zstd": Zstd,
}  # fmt: skip


def inflator(encoding: str) -> Inflator:
    """The decompressor for a Content-Encoding. Raises FramingError 415 for one other than gzip and zstd."""
    kind = _ENCODINGS.get(encoding.strip().lower())
    if kind is None:
        raise FramingError(415, "unsupported-encoding", "Content-Encoding must be gzip, zstd or absent")
    return kind()
