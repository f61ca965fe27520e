"""services.publisher.site.event_stream: the text of events, positions, and requests for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from schemas.announcement import announcement, final_notice
from services.publisher.site import event_stream
from services.publisher.site.event_stream import BEGINNING, PIECE_BYTES
from tests.support.event_source import Event, Parser
from tests.support.problems import assert_problem
from tests.unit.sample_reader import REPORT, WEEK, Pool, reading

READY = announcement(REPORT.document(), "2017-02-05T05:00:00+00:00")
FINAL, _ = final_notice(WEEK, 1, REPORT.digest, "2017-04-05T05:00:00+00:00")
PATH = "/v1/reports/stream"


@pytest.fixture
def pool() -> Pool:
    made = Pool()
    made.messages = [(3, READY), (7, FINAL)]
    return made


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(pool) as client:
        yield client


def parsed(text: bytes) -> list[Event]:
    return list(Parser().feed(text))


def test_the_data_of_an_event_are_the_bytes_of_the_message() -> None:
    assert parsed(event_stream.event(3, READY)) == [Event("3", "report-ready", READY)]
    assert parsed(event_stream.event(7, FINAL)) == [Event("7", "report-final", FINAL)]


@given(st.text(), st.text(), st.integers(min_value=0, max_value=2**60))
def test_no_text_of_a_message_breaks_out_of_its_event(kind: str, note: str, offset: int) -> None:
    """The publisher writes canonical JSON, which has no line breaks outside of escapes."""
    value = rfc8785.dumps({"type": kind, "note": note})
    (event,) = parsed(event_stream.event(offset, value))
    assert (event.id, event.data) == (str(offset), value)


def test_a_message_of_several_lines_is_one_event() -> None:
    """`kept_messages` stores the bytes of the topic, which another program may have written there again."""
    (event,) = parsed(event_stream.event(1, b'{\r\n "type":\r"report-ready"\n}'))
    assert event == Event("1", "report-ready", b'{\n "type":\n"report-ready"\n}')


def test_the_opening_sets_the_position_and_is_no_event() -> None:
    parser = Parser()
    assert list(parser.feed(event_stream.opening(41))) == []
    assert (parser.last_event_id, parser.retry) == ("41", 5000)
    assert list(parser.feed(event_stream.opening(BEGINNING))) == []
    assert event_stream.position(parser.last_event_id) == BEGINNING


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "", " 1", "x", "٣", "1" * 19, "Beginning", "1\n"])
def test_another_text_is_no_position(text: str) -> None:
    assert event_stream.position(text) is None
    assert event_stream.position("0") == 0


def test_a_large_event_is_sent_in_pieces() -> None:
    text = bytes(2 * PIECE_BYTES + 1)
    assert [len(one) for one in event_stream.pieces(text)] == [PIECE_BYTES, PIECE_BYTES, 1]
    assert list(event_stream.pieces(b"")) == []


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?from=x", {}, "bad-event-id"), ("?from=", {}, "bad-event-id"), ("?from=1&from=2", {}, "bad-event-id"),
        ("", {"Last-Event-ID": "x"}, "bad-event-id"), ("?from=3", {"Last-Event-ID": "3,7"}, "bad-event-id"),
        ("?from=8", {}, "unknown-event-id"), ("", {"Last-Event-ID": "999999999999999999"}, "unknown-event-id"),
        ("?since=3", {}, "unknown-parameter"),
    ],
)  # fmt: skip
async def test_a_wrong_position_is_400(
    client: httpx.AsyncClient, query: str, headers: dict[str, str], code: str
) -> None:
    assert_problem(await client.get(PATH + query, headers=headers), 400, code)


async def test_head_has_the_headers_and_no_stream(client: httpx.AsyncClient) -> None:
    response = await client.head(PATH, headers={"Accept-Encoding": "gzip"})
    assert response.status_code == 200
    assert {name: response.headers[name] for name in ("content-type", "cache-control", "x-accel-buffering")} == {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
    }
    assert not {"content-length", "content-encoding", "vary"} & set(response.headers)


async def test_without_postgresql_a_new_stream_is_503(client: httpx.AsyncClient, pool: Pool) -> None:
    pool.broken = ConnectionRefusedError()
    response = await client.get(PATH)
    assert_problem(response, 503, "reports-unavailable")
    assert response.headers["retry-after"] == "5"
