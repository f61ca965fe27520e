"""services.ingest.body.ndjson: lines do not depend on how a body is divided into pieces."""

from __future__ import annotations

import tracemalloc
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.acceptance import MAX_EVENT_BYTES
from services.ingest.body.ndjson import BOM, LineSplitter

Numbered = list[tuple[int, bytes | None]]


def cut_at(body: bytes, offsets: list[int]) -> Numbered:
    """The lines of a body that is divided at these offsets."""
    lines = LineSplitter()
    found: Numbered = []
    edges = sorted({0, len(body), *(offset % (len(body) + 1) for offset in offsets)})
    for start, end in pairwise(edges):
        found += lines.feed(body[start:end])
    return found + list(lines.finish())


def expected(body: bytes) -> Numbered:
    """The expected lines: LF or CRLF ends a line; blank lines are counted but not returned."""
    found: Numbered = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        line = line.removeprefix(BOM)  # noqa: PLW2901  # without the mark
        text = line.strip(b" \t\r")
        if len(line) > MAX_EVENT_BYTES + 1 or len(text) > MAX_EVENT_BYTES:
            found.append((number, None))
        elif text:
            found.append((number, text))
    return found


long = st.integers(MAX_EVENT_BYTES - 2, MAX_EVENT_BYTES + 3).map(lambda length: b"x" * length)
parts = st.sampled_from(
    [b"{}", b'{"a": 1}', b"", b" ", b"\t", b"\r", b"\x0b", b"\x1e", b"\xff", "é\u2028".encode(), BOM, BOM[:2]]
)
lines = st.lists(parts | parts | parts | long, max_size=4).map(b"".join)
bodies = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\n\n"])), max_size=8)


@given(bodies, lines, st.lists(st.integers(0, 10**6), max_size=12))
@example([(b"x" * MAX_EVENT_BYTES, b"\r\n")], b"", [MAX_EVENT_BYTES + 1])
@example([(b"x" * (MAX_EVENT_BYTES + 1), b"\n"), (b"{}", b"\n")], b"", [MAX_EVENT_BYTES + 1])
@example([(b"x" * (MAX_EVENT_BYTES + 2), b"\n"), (b"", b"\n"), (b"{}", b"\n")], b"{}", [MAX_EVENT_BYTES + 2])
@example(
    [(BOM + b"x" * MAX_EVENT_BYTES, b"\r\n"), (BOM + b"x" * (MAX_EVENT_BYTES + 2), b"\n")], BOM + b"{}", [1, 16_392]
)
def test_lines_do_not_depend_on_the_pieces(ended: list[tuple[bytes, bytes]], last: bytes, offsets: list[int]) -> None:
    body = b"".join(line + end for line, end in ended) + last
    assert cut_at(body, offsets) == expected(body)


@given(st.binary(max_size=100).map(lambda body: body.replace(b"a", b"\n")), st.lists(st.integers(0, 100), max_size=20))
def test_any_bytes_are_lines(body: bytes, offsets: list[int]) -> None:
    assert cut_at(body, offsets) == expected(body)


def test_byte_by_byte_is_the_same() -> None:
    body = b'{"a": 1}\r\n\r\n \n{"b": 2}\n' + b"y" * (MAX_EVENT_BYTES + 5) + b"\nz\n\n  last"
    assert cut_at(body, list(range(len(body)))) == expected(body)
    assert [number for number, _ in expected(body)] == [1, 4, 5, 6, 8]


def test_lines_equal_those_of_splitlines_at_line_breaks() -> None:
    body = b'{"a": 1}\n{"b": 2}\r\n{"c": 3}'
    assert [text for _, text in cut_at(body, [3, 9, 20])] == body.splitlines()


def test_a_long_line_is_not_in_memory() -> None:
    """A line without an end needs constant memory."""
    lines = LineSplitter()
    for _ in range(1_000):
        assert list(lines.feed(b"x" * 10_000)) == []
        assert len(lines._rest) <= MAX_EVENT_BYTES + 2 + len(BOM)
    assert list(lines.feed(b"x\n{}\n")) == [(1, None), (2, b"{}")]
    assert list(lines.finish()) == []


def test_a_large_piece_is_the_same_as_small_ones() -> None:
    body = b"\n".join([b"x" * (size % 20_000) + b"\n\r" * (size % 3) for size in range(0, 200_000, 999)])
    assert cut_at(body, []) == cut_at(body, list(range(0, len(body), 1_000))) == expected(body)


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"11\n", b"1\n"])
def test_short_lines_are_not_all_in_memory_at_once(line: bytes) -> None:
    """Each line becomes one to three objects of about fifty bytes."""
    body = line * (200_000 // len(line))
    lines = LineSplitter()
    tracemalloc.start()
    try:
        last = deque(lines.feed(body), maxlen=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(last) == ([(len(body) // len(line), line.strip())] if line.strip() else [])
    assert peak < 1_500_000


def test_no_body_has_no_lines() -> None:
    for body in (b"", b"\n", b"\r\n \n"):
        assert cut_at(body, []) == []
