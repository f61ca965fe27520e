"""services.ingest.framing.Lines: the same lines whatever pieces they come in."""

from __future__ import annotations

import tracemalloc
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.acceptance import MAX_EVENT_BYTES
from services.ingest.framing import Lines

Numbered = list[tuple[int, bytes | None]]


def cut_at(body: bytes, places: list[int]) -> Numbered:
    """The lines of a body that comes in pieces, cut at these places."""
    lines = Lines()
    found: Numbered = []
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    for start, end in pairwise(edges):
        found += lines.feed(body[start:end])
    return found + list(lines.finish())


def told(body: bytes) -> Numbered:
    """What they must be: a line ends with LF or CRLF, blank ones are passed over but counted."""
    found: Numbered = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        text = line.strip(b" \t\r")
        if len(line) > MAX_EVENT_BYTES + 1 or len(text) > MAX_EVENT_BYTES:
            found.append((number, None))
        elif text:
            found.append((number, text))
    return found


long = st.integers(MAX_EVENT_BYTES - 2, MAX_EVENT_BYTES + 3).map(lambda length: b"x" * length)
parts = st.sampled_from([b"{}", b'{"a": 1}', b"", b" ", b"\t", b"\r", b"\x0b", b"\x1e", b"\xff", "é\u2028".encode()])
lines = st.lists(parts | parts | parts | long, max_size=4).map(b"".join)
bodies = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\n\n"])), max_size=8)


@given(bodies, lines, st.lists(st.integers(0, 10**6), max_size=12))
@example([(b"x" * MAX_EVENT_BYTES, b"\r\n")], b"", [MAX_EVENT_BYTES + 1])
@example([(b"x" * (MAX_EVENT_BYTES + 1), b"\n"), (b"{}", b"\n")], b"", [MAX_EVENT_BYTES + 1])
@example([(b"x" * (MAX_EVENT_BYTES + 2), b"\n"), (b"", b"\n"), (b"{}", b"\n")], b"{}", [MAX_EVENT_BYTES + 2])
@settings(max_examples=500, deadline=None)
def test_the_cut_of_the_pieces_does_not_matter(
    ended: list[tuple[bytes, bytes]], last: bytes, places: list[int]
) -> None:
    body = b"".join(line + end for line, end in ended) + last
    assert cut_at(body, places) == told(body)


@given(st.binary(max_size=100).map(lambda body: body.replace(b"a", b"\n")), st.lists(st.integers(0, 100), max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_lines(body: bytes, places: list[int]) -> None:
    assert cut_at(body, places) == told(body)


def test_byte_by_byte_is_the_same() -> None:
    body = b'{"a": 1}\r\n\r\n \n{"b": 2}\n' + b"y" * (MAX_EVENT_BYTES + 5) + b"\nz\n\n  last"
    assert cut_at(body, list(range(len(body)))) == told(body)
    assert [number for number, _ in told(body)] == [1, 4, 5, 6, 8]


def test_lines_are_those_of_splitlines_where_it_cuts_at_line_breaks_alone() -> None:
    body = b'{"a": 1}\n{"b": 2}\r\n{"c": 3}'
    assert [text for _, text in cut_at(body, [3, 9, 20])] == body.splitlines()


def test_what_is_too_long_is_not_kept() -> None:
    """A line without end must not fill the memory."""
    lines = Lines()
    for _ in range(1_000):
        assert list(lines.feed(b"x" * 10_000)) == []
        assert len(lines._rest) <= MAX_EVENT_BYTES + 2
    assert list(lines.feed(b"x\n{}\n")) == [(1, None), (2, b"{}")]
    assert list(lines.finish()) == []


def test_a_large_piece_is_the_same_as_small_ones() -> None:
    body = b"\n".join([b"x" * (size % 20_000) + b"\n\r" * (size % 3) for size in range(0, 200_000, 999)])
    assert cut_at(body, []) == cut_at(body, list(range(0, len(body), 1_000))) == told(body)


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"11\n", b"1\n"])
def test_short_lines_are_not_all_in_memory_at_once(line: bytes) -> None:
    """Each is an object or three, of some fifty bytes."""
    body = line * (200_000 // len(line))
    lines = Lines()
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
