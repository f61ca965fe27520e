"""services.ingest: `Prefer: handling=strict` and Accept."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.ingest.body.media_types import BATCH, LINES, SINGLE
from services.ingest.body.reader import MAX_BODY_BYTES
from tests.support.agencies import LAS_VEGAS
from tests.support.problems import assert_problem
from tests.support.processes import batch, post
from tests.unit import sample_endpoint
from tests.unit.sample_endpoint import Producer
from tests.unit.sample_events import encoded, event

GOOD, BAD, OURS_NOT = encoded(event()), encoded(event(version=0)), encoded(event(jurisdiction="06037"))
STRICT = {"Prefer": "handling=strict"}
BODIES = {BATCH: batch, LINES: b"\n".join}
both = pytest.mark.parametrize("media_type", BODIES)


async def sent(client: httpx.AsyncClient, media_type: str, events: list[bytes], **more: str) -> httpx.Response:
    return await post(client, BODIES[media_type](events), media_type, **{**STRICT, **more})


@both
async def test_a_batch_that_is_all_stored_is_200(
    client: httpx.AsyncClient, producer: Producer, media_type: str
) -> None:
    response = await sent(client, media_type, [GOOD, GOOD])
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["preference-applied"] == "handling=strict"
    assert [one["offset"] for one in response.json()["receipts"]] == [101, 102]
    assert response.json()["summary"] == {"lines": 2, "accepted": 2, "rejected": 0, "unavailable": 0}
    assert len(producer.stored) == 2


@both
async def test_a_refused_event_is_422_and_nothing_is_stored(
    client: httpx.AsyncClient, producer: Producer, media_type: str
) -> None:
    response = await sent(client, media_type, [GOOD, BAD, GOOD, OURS_NOT, b'"' + b"x" * 20_000 + b'"'])
    body = assert_problem(response, 422, "batch-refused")
    assert response.headers["preference-applied"] == "handling=strict"
    shown = [(one["line"], one["status"], one["code"]) for one in body["receipts"]]
    assert shown == [
        (2, "rejected", "out-of-range"),
        (4, "rejected", "jurisdiction-not-allowed"),
        (5, "rejected", "too-large"),
    ]
    assert producer.stored == []


@both
async def test_an_unacknowledged_event_is_503_and_the_batch_retryable(
    client: httpx.AsyncClient, producer: Producer, media_type: str
) -> None:
    producer.lost = {2}
    response = await sent(client, media_type, [GOOD, GOOD])
    body = assert_problem(response, 503, "not-acknowledged")
    assert int(response.headers["retry-after"]) > 0
    assert body["retryable"] is True
    assert [one["status"] for one in body["receipts"]] == ["accepted", "unavailable"]


async def test_strict_lines_have_the_limits_of_a_batch(client: httpx.AsyncClient, producer: Producer) -> None:
    assert_problem(await sent(client, LINES, [b"1"] * 1_001), 413, "batch-too-long")
    assert_problem(await sent(client, LINES, [b" " * MAX_BODY_BYTES, GOOD]), 413, "too-large")
    assert_problem(await sent(client, LINES, []), 400, "empty-body")
    assert producer.stored == []
    response = await sent(client, LINES, [b"", GOOD, b"\r", b"\xef\xbb\xbf" + GOOD, b""])
    assert [one["line"] for one in response.json()["receipts"]] == [2, 4]
    packed = await post(client, gzip.compress(GOOD), LINES, **STRICT, **{"Content-Encoding": "gzip"})
    assert packed.status_code == 200


async def test_other_preferences_are_ignored(client: httpx.AsyncClient, producer: Producer) -> None:
    for prefer in ("handling=lenient", "respond-async", "return=minimal, x"):
        assert (await post(client, batch([GOOD, BAD]), BATCH, Prefer=prefer)).status_code == 207
        assert (await post(client, GOOD + b"\n" + BAD, LINES, Prefer=prefer)).status_code == 207
    assert len(producer.stored) == 6


async def test_a_single_event_is_always_strict(client: httpx.AsyncClient) -> None:
    assert (await post(client, GOOD, **STRICT)).status_code == 202
    assert_problem(await post(client, BAD, **STRICT), 422, "out-of-range")


async def test_refusals_of_a_strict_batch_are_counted(client: httpx.AsyncClient) -> None:
    def counted(text: str) -> float:
        wanted = 'ddor_ingest_events_total{code="order-of-instants",kind="declined",outcome="rejected"} '
        return sum(float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted))

    before = counted((await client.get("/metrics")).text)
    late = encoded(event("declined", recorded_at="2016-01-01T00:00:00Z"))
    await sent(client, BATCH, [GOOD, late, late])
    assert counted((await client.get("/metrics")).text) == before + 2


async def test_a_refused_strict_batch_counts_against_the_rate(tmp_path: Path, producer: Producer) -> None:
    endpoint = sample_endpoint.endpoint(tmp_path, producer)
    file = tmp_path / "agencies.toml"
    named = f'name = "{LAS_VEGAS}"\n'
    file.write_text(file.read_text().replace(named, f"{named}events_per_second = 1\n"))
    async with sample_endpoint.connected(endpoint) as client:
        assert_problem(await sent(client, BATCH, [BAD] * 15), 422, "batch-refused")
        assert_problem(await sent(client, BATCH, [BAD]), 429, "too-many-events")


# Accept


@pytest.mark.parametrize(
    ("accept", "media_type", "taken"),
    [
        ("application/*", SINGLE, True), ("application/*;q=0.1, text/html", LINES, True), ("", SINGLE, True),
        ("application/json", LINES, True), (LINES, SINGLE, True), ("application/problem+json", BATCH, True),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", SINGLE, True),
        ("application/json;q=0", SINGLE, False), ("application/json;q=0, */*", SINGLE, False),
        (f"{LINES};q=0, */*", LINES, False), (f"{LINES};q=0, */*", SINGLE, True), ("*/*;q=0", BATCH, False),
        ("text/*", SINGLE, False), ("json", SINGLE, False),
    ],
)  # fmt: skip
async def test_accept_is_read_with_its_weights(
    client: httpx.AsyncClient, accept: str, media_type: str, taken: bool
) -> None:
    response = await post(client, batch([GOOD]) if media_type == BATCH else GOOD, media_type, Accept=accept)
    if taken:
        assert response.status_code in (200, 202, 207)
    else:
        assert_problem(response, 406, "not-acceptable")


async def test_several_lines_of_accept_are_one_list(client: httpx.AsyncClient) -> None:
    del client.headers["Accept"]
    headers: Any = [("Content-Type", SINGLE), ("Accept", "application/json"), ("Accept", "text/html")]
    for listed, status in ((headers, 202), (headers[:1] + headers[2:] * 2, 406), (headers[::-1], 202)):
        response = await client.post("/v1/events", content=GOOD, headers=listed)
        assert response.status_code == status


async def test_the_response_to_strict_lines_is_json(client: httpx.AsyncClient) -> None:
    response = await sent(client, LINES, [GOOD], Accept=f"{LINES};q=0, */*")
    assert response.status_code == 200
    assert json.loads(response.text)["summary"]["accepted"] == 1
