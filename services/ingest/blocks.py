"""Where the blocks of a zstd body end (RFC 8878, section 3.1). Pure: bytes in, bytes out.

A block of four bytes can stand for 128 kB, so whoever decompresses a few hundred bytes at once has megabytes. The
library has no limit for what it answers; but it answers a block only when the block is whole.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

BLOCK_BYTES = 131_072
"""What a block stands for at most."""
_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""The magic number of a skippable frame, behind a first byte of 0x50 to 0x5f."""
_RLE = 1


class NotZstdError(ValueError):
    """Neither a frame nor a skippable frame begins where one must."""


class Blocks:
    """Cuts a body, whatever pieces it comes in. What is wrong within a frame is for the decompressor to say."""

    def __init__(self) -> None:
        self._elements = _elements()
        self._wanted, self._kept = next(self._elements)
        self._head = b""

    def cut(self, data: bytes) -> Iterator[bytes]:
        """All of `data` in parts, in each of which at most one block ends; NotZstdError."""
        start = at = 0
        while at < len(data):
            end = min(at + self._wanted, len(data))
            if self._kept:
                self._head += data[at:end]
            self._wanted -= end - at
            at = end
            while not self._wanted:
                if not self._kept and start < at:
                    yield data[start:at]
                    start = at
                self._wanted, self._kept = self._elements.send(self._head)
                self._head = b""
        if start < at:
            yield data[start:at]


def _elements() -> Generator[tuple[int, bool], bytes, None]:
    """What frames are made of, one behind the other: how many bytes, and whether they must be looked at."""
    while True:
        magic = yield 4, True
        if magic[1:] == _SKIPPABLE and magic[0] >> 4 == 5:
            yield int.from_bytes((yield 4, True), "little"), False
        elif magic == _MAGIC:
            yield from _frame()
        else:
            raise NotZstdError


def _frame() -> Generator[tuple[int, bool], bytes, None]:
    descriptor = (yield 1, True)[0]
    whole, checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    window, dictionary, content = 1 - whole, (0, 1, 2, 4)[descriptor & 3], (whole, 2, 4, 8)[descriptor >> 6]
    yield window + dictionary + content, True
    last = 0
    while not last:
        header = int.from_bytes((yield 3, True), "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        yield 1 if kind == _RLE else size, False
    yield 4 * checksum, True
