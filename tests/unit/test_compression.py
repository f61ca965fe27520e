"""services.ingest.body.compression: decompression in bounded memory, however a body is divided."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.body import compression
from services.ingest.body.compression import MAX_RATIO, Inflator, inflator
from services.ingest.body.errors import FramingError
from tests.support.compressing import zstd
from tests.unit.sample_events import encoded, event

MEGABYTE = 1_048_576
MAX_PIECE = 262_144


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def inflated(encoding: str, body: bytes, size: int = 65_536) -> bytes:
    one = inflator(encoding)
    made = b"".join(plain for piece in cut(body, size) for plain in one.feed(piece))
    one.finish()
    return made


RNG = random.Random(1)
LINES_OF_EVENTS = b"\n".join(encoded(event(detainer_id=str(uuid.UUID(int=RNG.getrandbits(128))))) for _ in range(2_000))
NOISE = random.Random(1).randbytes(300_000)
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "x-gzip": gzip.compress, "zstd": zstd.compress}


@pytest.mark.parametrize("size", [1, 7, 65_536, 10**7])
@pytest.mark.parametrize("encoding", PACKED)
def test_decompression_restores_the_body(encoding: str, size: int) -> None:
    most = 20_000 if size < 10 else len(LINES_OF_EVENTS)
    for plain in (b"x", NOISE[:most], LINES_OF_EVENTS[:most]):
        assert inflated(encoding, PACKED[encoding](plain), size) == plain


@given(
    st.lists(st.binary(max_size=500), min_size=1, max_size=5), st.integers(1, 2_000), st.sampled_from(sorted(PACKED))
)
def test_a_body_may_have_several_members(parts: list[bytes], size: int, encoding: str) -> None:
    body = b"".join(PACKED[encoding](part) for part in parts)
    assert inflated(encoding, body, size) == b"".join(parts)


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_without_compression_the_bytes_are_unchanged(encoding: str) -> None:
    assert inflated(encoding, NOISE) == NOISE


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "identity, gzip", "zip"])
def test_another_encoding_is_415(encoding: str) -> None:
    assert_refused(lambda: inflator(encoding), 415, "unsupported-encoding")


@pytest.mark.parametrize("size", [1, 100, 10**6])
@pytest.mark.parametrize("encoding", PACKED)
def test_a_truncated_body_is_refused(encoding: str, size: int) -> None:
    whole = PACKED[encoding](LINES_OF_EVENTS[:20_000])
    for length in (1, 5, 12, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        with pytest.raises(FramingError) as caught:
            inflated(encoding, whole[:length], size)
        assert (caught.value.status, caught.value.code) == (400, "bad-compression")
    with pytest.raises(FramingError):
        inflated(encoding, whole + whole[:-3], size)


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("body", [b"no", b"{}" * 500, NOISE], ids=["short", "JSON", "noise"])
def test_an_uncompressed_body_is_refused(encoding: str, body: bytes) -> None:
    assert_refused(lambda: inflated(encoding, body), 400, "bad-compression")
    assert_refused(lambda: inflated(encoding, PACKED[encoding](b"{}") + body), 400, "bad-compression")


@pytest.mark.parametrize("encoding", PACKED)
def test_a_damaged_body_is_refused(encoding: str) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    whole = bytearray(zstd.compress(NOISE, options=options) if encoding == "zstd" else gzip.compress(NOISE))
    whole[len(whole) // 2] ^= 0x10
    assert_refused(lambda: inflated(encoding, bytes(whole)), 400, "bad-compression")


def test_a_zstd_window_above_8_megabytes_is_refused() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 24})
    body = compressor.compress(NOISE * 60) + compressor.flush()
    assert_refused(lambda: inflated("zstd", body), 400, "bad-compression")


# Small bodies that expand to much data.


def gzip_bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(MEGABYTE)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def zstd_bomb(megabytes: int) -> bytes:
    packer = zstd.ZstdCompressor(level=19)
    block = bytes(MEGABYTE)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


@cache
def bomb(encoding: str) -> bytes:
    """Cached, because it takes a second to create."""
    return gzip_bomb(200) if encoding == "gzip" else zstd_bomb(2_000)


@pytest.mark.parametrize("size", [100, 65_536, 10**9])
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_fills_the_memory(encoding: str, size: int) -> None:
    body = bomb(encoding)
    one = inflator(encoding)
    made = 0

    def explode() -> None:
        nonlocal made
        for piece in cut(body, size):
            for plain in one.feed(piece):
                made += len(plain)
                assert len(plain) <= MAX_PIECE

    tracemalloc.start()
    try:
        assert_refused(explode, 413, "expands-too-much")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MEGABYTE + 2 * min(size, len(body))
    assert made <= MAX_RATIO * len(body) + MEGABYTE


def rle_blocks(blocks: int) -> bytes:
    """A zstd frame of `blocks` blocks of 4 bytes that expand to 128 kB each, and an empty last block."""
    return b"\x28\xb5\x2f\xfd\x00\x68" + b"\x02\x00\x10\n" * blocks + b"\x01\x00\x00"


@pytest.mark.parametrize("blocks", [1, 200, 1_600])
def test_a_few_bytes_of_zstd_that_expand_to_megabytes_come_in_pieces(blocks: int) -> None:
    """Without a limit, one call would return up to 200 MB for 6.4 kB of input."""
    one = inflator("zstd")
    body = zstd.compress(NOISE) + rle_blocks(blocks)
    tracemalloc.start()
    try:
        with mock.patch.object(compression, "MAX_RATIO", 10**9):
            made = [len(plain) for plain in one.feed(body)]
        one.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(made) == len(NOISE) + blocks * 131_072
    assert max(made) <= MAX_PIECE
    assert peak < 2 * MEGABYTE


def test_the_ratio_is_checked_before_the_next_piece() -> None:
    made = 0

    def explode() -> None:
        nonlocal made
        for plain in inflator("zstd").feed(rle_blocks(1_600)):
            made += len(plain)

    assert_refused(explode, 413, "expands-too-much")
    assert made <= MEGABYTE


NOTHING = {
    "gzip members": ("gzip", gzip.compress(b""), b""),
    "gzip blocks": ("gzip", gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff"),
    "zstd frames": ("zstd", zstd.compress(b""), b""),
    "zstd blocks": ("zstd", rle_blocks(0)[:6], b"\x00\x00\x00"),
    "zstd skippable frames": ("zstd", zstd.compress(b""), b"\x5f\x2a\x4d\x18\x00\x00\x00\x00"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_body_that_expands_to_nothing_does_not_block_other_tasks(name: str) -> None:
    encoding, first, more = NOTHING[name]
    body = first + (more or first) * 20_000
    pieces = list(inflator(encoding).feed(body))
    assert b"".join(pieces) == b""
    assert len(pieces) >= len(body) // 8_192


def flushed(parts: list[bytes], level: int, *, checksum: bool, sized: bool) -> bytes:
    """A zstd frame with at least one block for each part."""
    parameters = zstd.CompressionParameter
    packer = zstd.ZstdCompressor(options={parameters.compression_level: level, parameters.checksum_flag: checksum})
    if sized:
        packer.set_pledged_input_size(sum(map(len, parts)))
    return b"".join(packer.compress(part, packer.FLUSH_BLOCK) for part in parts) + packer.flush()


zeros = st.integers(0, 300_000).map(bytes)
frames = st.builds(
    flushed, st.lists(st.binary(max_size=300) | zeros, max_size=4), st.integers(1, 4),
    checksum=st.booleans(), sized=st.booleans(),
)  # fmt: skip
skippable = st.binary(max_size=300).map(lambda data: b"\x52\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data)


@given(st.lists(frames | skippable, min_size=1, max_size=4), st.integers(1, 400))
def test_zstd_in_pieces_equals_zstd_as_a_whole(parts: list[bytes], size: int) -> None:
    """Frames, skippable frames and blocks, divided anywhere."""
    body = b"".join(parts)
    one = inflator("zstd")
    with mock.patch.object(compression, "MAX_RATIO", 10**9):  # zeros expand to more than the limit
        pieces = [plain for piece in cut(body, size) for plain in one.feed(piece)]
        one.finish()
    assert max(map(len, pieces)) <= MAX_PIECE
    assert b"".join(pieces) == zstd.decompress(body)


def test_a_bomb_of_many_small_members_is_refused() -> None:
    for encoding in ("gzip", "zstd"):
        member = PACKED[encoding](bytes(100_000))
        assert 2 * MAX_RATIO * len(member) < 100_000
        assert_refused(lambda body=member * 1_000, encoding=encoding: inflated(encoding, body), 413, "expands-too-much")  # type: ignore[misc]


def test_small_bodies_and_real_events_are_below_the_ratio_limit() -> None:
    assert inflated("gzip", gzip.compress(bytes(900_000))) == bytes(900_000)
    assert len(LINES_OF_EVENTS) > MEGABYTE
    for encoding, pack in PACKED.items():
        assert inflated(encoding, pack(LINES_OF_EVENTS)) == LINES_OF_EVENTS


def assert_refused(act: Callable[[], object], status: int, code: str) -> None:
    with pytest.raises(FramingError) as caught:
        act()
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.detail == str(caught.value)


def test_every_kind_is_an_inflator() -> None:
    kinds: list[Inflator] = [inflator(encoding) for encoding in ("", "gzip", "zstd")]
    for one in kinds:
        assert list(one.feed(b"")) in ([], [b""])
