"""services.runtime.h11_connection: the parsed events do not depend on the segmentation of the bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import h11_connection
from services.runtime.h11_connection import ServerConnection
from tests.support.http_cases import CASES
from tests.support.serving import fill, words

WORDS = words(b"POST", b"/v1/events", b'{"specversion":"1.0"}')
SENT = [
    b"".join(piece for piece in pieces if piece not in (b"wait", b"end"))
    for case in CASES
    for pieces in [(case.sent,) if isinstance(case.sent, bytes) else case.sent]
    if sum(map(len, pieces)) < 5_000
]


def respond(connection: ServerConnection) -> None:
    """Respond to the request, so that the next one can start."""
    connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
    connection.send(h11.EndOfMessage())
    if connection.their_state is h11.DONE and connection.our_state is h11.DONE:
        connection.start_next_cycle()


def test_bytes_after_a_last_request_are_ignored() -> None:
    """The response has started, so a refusal would belong to another request or contradict the stored events."""
    for last in (b"POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
                 b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"):  # fmt: skip
        connection = ServerConnection()
        connection.receive_data(last)
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            pass
        for more in (b"\r\n", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b""):
            connection.receive_data(more)
            assert connection.next_event() is h11.NEED_DATA


def read(segments: list[bytes]) -> list[Any]:
    """Requests with their bodies, and the refusal at the end."""
    connection, seen = ServerConnection(), list[Any]()
    for segment in segments:
        connection.receive_data(segment)
        while True:
            connection.begin_turn()
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return [*seen, connection.fault]
            if isinstance(event, h11.Request):
                seen.append([event.method, event.target, list(event.headers), b""])
            elif isinstance(event, h11.Data):
                seen[-1][-1] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen.append("whole")
                respond(connection)
            else:
                break
    return seen


@given(st.sampled_from(SENT), st.lists(st.integers(0, 600), max_size=6))
def test_segmentation_does_not_matter(template: bytes, cuts: list[int]) -> None:
    sent = fill(template, WORDS)
    at = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    segments = [sent[begin:end] for begin, end in pairwise(at)]
    assert read(segments) == read([sent])


@given(st.sampled_from(SENT))
def test_a_byte_at_a_time_is_the_same(template: bytes) -> None:
    sent = fill(template, WORDS)
    assert read([sent[at : at + 1] for at in range(len(sent))]) == read([sent])


def test_a_turn_ends_and_the_next_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h11_connection, "EVENTS_PER_TURN", 3)
    connection = ServerConnection()
    head = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.receive_data(head + b"1\r\nx\r\n" * 7 + b"0\r\n\r\n")
    assert [turn(connection) for _ in range(3)] == [3, 3, 1]
    assert connection.bodies_ended == 1


def turn(connection: ServerConnection) -> int:
    """The number of body parts that are read per turn."""
    connection.begin_turn()
    pieces = 0
    while isinstance(event := connection.next_event(), h11.Request | h11.Data):
        pieces += isinstance(event, h11.Data)
    return pieces
