"""Bad input over real HTTP: the right problem or receipt, and nothing stored in Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.local.parts import KafkaPart
from deploy.local.service import Service
from tests.support import events, kafka_log, processes
from tests.support.agencies import EXPIRED, NEW_YORK, key_of
from tests.support.problems import assert_problem
from tests.support.processes import BATCH, SINGLE, post
from tests.support.refused_bodies import GOOD, NO_JSON, REFUSED


@pytest.mark.parametrize("name", REFUSED)
async def test_one_bad_event_is_a_problem(http: httpx.AsyncClient, name: str) -> None:
    value, status, code, field = REFUSED[name]
    response = await post(http, value)
    problem = assert_problem(response, status, code)
    assert field is None or problem["detail"].startswith(f"{field}: ")
    assert "id" in problem
    assert "Doe" not in response.text


async def test_refused_events_are_not_in_kafka(http: httpx.AsyncClient, kafka: KafkaPart) -> None:
    before = await kafka_log.ends(kafka.bootstrap)
    for value, *_ in (*REFUSED.values(), *NO_JSON.values()):
        assert (await post(http, value)).is_client_error
    assert await kafka_log.ends(kafka.bootstrap) == before


@pytest.mark.parametrize("name", NO_JSON)
async def test_invalid_json_is_a_problem(http: httpx.AsyncClient, name: str) -> None:
    value, code = NO_JSON[name]
    assert_problem(await post(http, value), 400, code)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "broken JSON", "a NUL byte", "spaces"])
async def test_a_batch_of_invalid_json_is_refused_as_a_whole(
    http: httpx.AsyncClient, kafka: KafkaPart, name: str
) -> None:
    before = await kafka_log.ends(kafka.bootstrap)
    value = REFUSED[name][0] if name in REFUSED else NO_JSON[name][0]
    assert_problem(await post(http, processes.batch([GOOD, value]), BATCH), 400, "not-a-batch")
    assert await kafka_log.ends(kafka.bootstrap) == before


async def test_bad_events_in_a_batch_have_receipts_and_the_good_ones_are_stored(
    http: httpx.AsyncClient, kafka: KafkaPart
) -> None:
    refused = {name: bad for name, bad in REFUSED.items() if name not in {"NaN", "Infinity"}}
    values = [GOOD]
    for value, *_ in refused.values():
        values += [value, GOOD]
    before = await kafka_log.ends(kafka.bootstrap)
    response = await post(http, processes.batch(values), BATCH)
    assert response.status_code == 207
    body = response.json()
    receipts = body["receipts"]
    assert [receipt["line"] for receipt in receipts] == list(range(1, len(values) + 1))
    assert {receipt["status"] for receipt in receipts[::2]} == {"accepted"}
    for receipt, (name, (_, _, code, field)) in zip(receipts[1::2], refused.items(), strict=True):
        assert (receipt["status"], receipt["code"], receipt["retryable"]) == ("rejected", code, False), name
        assert field is None or receipt["detail"].startswith(f"{field}: "), name
        assert "offset" not in receipt, name
    good = len(refused) + 1
    assert body["summary"] == {"lines": len(values), "accepted": good, "rejected": len(refused), "unavailable": 0}
    after = await kafka_log.ends(kafka.bootstrap)
    assert sum(after.values()) - sum(before.values()) == good


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", SINGLE, 400, "empty-body"),
        (b"", BATCH, 400, "empty-body"),
        (b" " * 2_097_152, SINGLE, 413, "too-large"),
        (processes.batch([GOOD] * 5_000), BATCH, 413, "too-large"),
        (processes.batch([GOOD] * 1_001), BATCH, 413, "batch-too-long"),
        (GOOD, BATCH, 400, "not-a-batch"),
        (b"[1", BATCH, 400, "not-a-batch"),
        (GOOD, "application/json", 415, "unsupported-media-type"),
        (GOOD, "text/plain", 415, "unsupported-media-type"),
        (GOOD, "", 415, "unsupported-media-type"),
    ],
)
async def test_a_bad_body_is_a_problem(
    http: httpx.AsyncClient, body: bytes, content_type: str, status: int, code: str
) -> None:
    assert_problem(await post(http, body, content_type), status, code)


async def test_a_chunked_body_is_not_read_beyond_the_limit(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    assert_problem(await post(http, endless()), 413, "too-large")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer unknown", f"Basic {key_of(NEW_YORK)}", key_of(NEW_YORK), f"Bearer {key_of(EXPIRED)}"],
)
async def test_an_unknown_key_is_a_problem(http: httpx.AsyncClient, authorization: str) -> None:
    response = await post(http, GOOD, Authorization=authorization)
    assert_problem(response, 401, "unknown-key")
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_kind_that_the_agency_may_not_send_is_refused(ingest: Service) -> None:
    data = events.declined(1, jurisdiction=events.NASSAU)
    value = events.encoded(events.envelope("declined", data, agency=NEW_YORK))
    async with processes.client(ingest, NEW_YORK) as http:
        assert_problem(await post(http, value), 422, "kind-not-allowed")


async def test_other_methods_and_addresses_are_problems(http: httpx.AsyncClient) -> None:
    assert_problem(await http.get("/v1/events"), 405, "method-not-allowed")
    assert_problem(await http.put("/v1/events", content=GOOD), 405, "method-not-allowed")
    assert_problem(await http.get("/v1/nothing"), 404, "not-found")


async def test_the_outcomes_are_in_the_metrics(http: httpx.AsyncClient) -> None:
    await post(http, GOOD)
    await post(http, REFUSED["version 0"][0])
    text = (await http.get("/metrics")).text
    assert 'ddor_ingest_events_total{code="",kind="issued",outcome="accepted"}' in text
    assert 'ddor_ingest_events_total{code="out-of-range",kind="issued",outcome="rejected"}' in text
    assert 'ddor_agency_last_event_timestamp_seconds{agency="ice-las-vegas"}' in text
