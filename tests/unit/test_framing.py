"""services.ingest.framing: compressed bodies, batches and lines, whatever pieces they come in."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.blocks import BLOCK_BYTES, Blocks
from services.ingest.framing import MAX_RATIO, FramingError, Inflator, inflator, split
from tests.unit.sample_events import encoded, event, quick

MEGABYTE = 1_048_576


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


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
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "x-gzip": gzip.compress, "zstd": zstd}


@pytest.mark.parametrize("size", [1, 7, 65_536, 10**7])
@pytest.mark.parametrize("encoding", PACKED)
def test_what_was_compressed_comes_out(encoding: str, size: int) -> None:
    most = 20_000 if size < 10 else len(LINES_OF_EVENTS)
    for plain in (b"x", NOISE[:most], LINES_OF_EVENTS[:most]):
        assert inflated(encoding, PACKED[encoding](plain), size) == plain


@given(
    st.lists(st.binary(max_size=500), min_size=1, max_size=5), st.integers(1, 2_000), st.sampled_from(sorted(PACKED))
)
@quick
def test_members_may_stand_one_behind_the_other(parts: list[bytes], size: int, encoding: str) -> None:
    body = b"".join(PACKED[encoding](part) for part in parts)
    assert inflated(encoding, body, size) == b"".join(parts)


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_without_compression_the_bytes_are_as_they_are(encoding: str) -> None:
    assert inflated(encoding, NOISE) == NOISE


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "identity, gzip", "zip"])
def test_another_encoding_is_415(encoding: str) -> None:
    assert_refused(lambda: inflator(encoding), 415, "unsupported-encoding")


@pytest.mark.parametrize("size", [1, 100, 10**6])
@pytest.mark.parametrize("encoding", PACKED)
def test_a_body_that_is_cut_off_is_told(encoding: str, size: int) -> None:
    whole = PACKED[encoding](LINES_OF_EVENTS[:20_000])
    for length in (1, 5, 12, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        with pytest.raises(FramingError) as caught:
            inflated(encoding, whole[:length], size)
        assert (caught.value.status, caught.value.code) == (400, "bad-compression")
    with pytest.raises(FramingError):
        inflated(encoding, whole + whole[:-3], size)


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("body", [b"no", b"{}" * 500, NOISE], ids=["short", "JSON", "noise"])
def test_what_is_not_compressed_is_told(encoding: str, body: bytes) -> None:
    assert_refused(lambda: inflated(encoding, body), 400, "bad-compression")
    assert_refused(lambda: inflated(encoding, PACKED[encoding](b"{}") + body), 400, "bad-compression")


@pytest.mark.parametrize("encoding", PACKED)
def test_damage_is_told(encoding: str) -> None:
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    whole = bytearray(compressor.compress(NOISE) if encoding == "zstd" else gzip.compress(NOISE))
    whole[len(whole) // 2] ^= 0x10
    assert_refused(lambda: inflated(encoding, bytes(whole)), 400, "bad-compression")


def test_a_zstd_window_above_8_megabytes_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressor.compress(NOISE * 40) + compressor.flush()
    assert_refused(lambda: inflated("zstd", body), 400, "bad-compression")


# Bombs: little that stands for much.


def gzip_bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(MEGABYTE)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def zstd_bomb(megabytes: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    block = bytes(MEGABYTE)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


BOMBS = {"gzip": gzip_bomb(200), "zstd": zstd_bomb(2_000)}


@pytest.mark.parametrize("size", [100, 65_536, 10**9])
@pytest.mark.parametrize("encoding", BOMBS)
def test_a_bomb_is_refused_before_it_fills_the_memory(encoding: str, size: int) -> None:
    body = BOMBS[encoding]
    one = inflator(encoding)
    made = 0

    def explode() -> None:
        nonlocal made
        for piece in cut(body, size):
            for plain in one.feed(piece):
                made += len(plain)
                assert len(plain) <= 262_144

    tracemalloc.start()
    try:
        assert_refused(explode, 413, "expands-too-much")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MEGABYTE + 2 * min(size, len(body))
    assert made <= MAX_RATIO * len(body) + MEGABYTE


def rle_blocks(blocks: int) -> bytes:
    """A zstd frame of so many blocks of 128 kB, four bytes each, and of an empty last one."""
    return b"\x28\xb5\x2f\xfd\x00\x68" + b"\x02\x00\x10\n" * blocks + b"\x01\x00\x00"


def test_what_a_few_bytes_of_zstd_stand_for_comes_in_pieces() -> None:
    one = inflator("zstd")
    first = zstd(NOISE)
    made = [len(plain) for plain in one.feed(first + rle_blocks(200))]
    one.finish()
    assert sum(made) == len(NOISE) + 200 * BLOCK_BYTES
    assert max(made) <= BLOCK_BYTES


NOTHING = {
    "gzip members": ("gzip", gzip.compress(b""), b""),
    "gzip blocks": ("gzip", gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff"),
    "zstd frames": ("zstd", zstd(b""), b""),
    "zstd blocks": ("zstd", rle_blocks(0)[:6], b"\x00\x00\x00"),
    "zstd skippable frames": ("zstd", zstd(b""), b"\x5f\x2a\x4d\x18\x00\x00\x00\x00"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_others_have_their_turn_while_a_body_expands_to_nothing(name: str) -> None:
    encoding, first, more = NOTHING[name]
    body = first + (more or first) * 20_000
    pieces = list(inflator(encoding).feed(body))
    assert b"".join(pieces) == b""
    assert len(pieces) >= len(body) // 8_192


def flushed(parts: list[bytes], level: int, *, checksum: bool, sized: bool) -> bytes:
    """A zstd frame with at least a block for each part."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, write_checksum=checksum)
    size = sum(map(len, parts)) if sized else -1
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=size)
    return b"".join(packer.compress(part) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for part in parts) + (
        packer.flush()
    )


zeros = st.integers(0, 300_000).map(bytes)
frames = st.builds(
    flushed, st.lists(st.binary(max_size=300) | zeros, max_size=4), st.integers(1, 4),
    checksum=st.booleans(), sized=st.booleans(),
)  # fmt: skip
skippable = st.binary(max_size=300).map(lambda data: b"\x52\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data)


@given(st.lists(frames | skippable, min_size=1, max_size=4), st.integers(1, 400))
@quick
def test_each_part_of_a_zstd_body_has_the_end_of_one_block_at_most(parts: list[bytes], size: int) -> None:
    body = b"".join(parts)
    blocks = Blocks()
    cuts = [part for piece in cut(body, size) for part in blocks.cut(piece)]
    assert b"".join(cuts) == body
    one = inflator("zstd")
    assert all(len(plain) <= BLOCK_BYTES for piece in cut(body, size) for plain in one.feed(piece))
    one.finish()


def test_a_bomb_of_many_small_members_is_refused() -> None:
    for encoding in ("gzip", "zstd"):
        member = PACKED[encoding](bytes(100_000))
        assert 2 * MAX_RATIO * len(member) < 100_000
        assert_refused(lambda body=member * 1_000, encoding=encoding: inflated(encoding, body), 413, "expands-too-much")  # type: ignore[misc]


def test_a_small_body_may_expand_as_it_likes_and_events_do_not_expand_so_much() -> None:
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


# Batches


def test_a_batch_is_split_without_a_change_to_its_events() -> None:
    values = [json.dumps(event(), indent=2).encode(), b'{"NaN": 1.0e0}', b"[]", b'"x"', b"1"]
    assert split(b" [" + b" ,\n".join(values) + b"] ") == values


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"[",
        b"[1,]",
        b"[1] 2",
        b"[1 2]",
        b"\xef\xbb\xbf[1]",
        b"[1]".decode().encode("utf-16"),
        b"[" + b",".join([b"1"] * 1_001) + b"]",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        encoded(event()),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_array_of_events_is_no_batch(body: bytes) -> None:
    with pytest.raises(FramingError):
        split(body)


def test_a_thousand_events_are_a_batch() -> None:
    assert len(split(b"[" + b",".join([b"1"] * 1_000) + b"]")) == 1_000


def test_the_message_says_how_many_there_may_be_and_what_to_do() -> None:
    with pytest.raises(FramingError, match=r"at most 1000 events; send application/x-ndjson instead") as caught:
        split(b"[" + b",".join([b"1"] * 1_001) + b"]")
    assert (caught.value.status, caught.value.code) == (413, "batch-too-long")


@given(st.binary(max_size=60))
@quick
def test_any_body_is_a_batch_or_is_not(body: bytes) -> None:
    for framed in (body, b"[" + body + b"]"):
        with suppress(FramingError):
            assert all(isinstance(value, bytes) for value in split(framed))
