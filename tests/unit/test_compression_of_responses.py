"""services.publisher.site.compression: codings, entity tags, small and large bodies, and bodies in pieces."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from services.publisher.site import compression
from services.publisher.site.compression import MIN_BYTES, THREAD_BYTES, Compression
from services.publisher.site.render_cache import RenderCache
from services.publisher.site.responses import tagged
from tests.support.compressing import zstd
from tests.support.problems import assert_problem
from tests.unit.sample_reader import Pool, reading

TEXT = b"issued 3,083, declined 206\n" * 100
PATHS = ["/", "/reports", "/feed.atom", "/v1/reports", "/v1/reports/latest.json", "/v1/reports/latest.html"]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with reading(Pool()) as client:
        yield client


async def raw(
    client: httpx.AsyncClient, path: str, method: str = "GET", **headers: str
) -> tuple[httpx.Response, bytes]:
    """A response, and its body as it was sent."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.stream(method, path, headers=sent) as response:
        body = b"".join([piece async for piece in response.aiter_raw()])
    return response, body


def plain(body: bytes, coding: str | None) -> bytes:
    if coding == "zstd":
        return zstd.decompress(body)
    return gzip.decompress(body) if coding == "gzip" else body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_response_is_compressed_and_otherwise_the_same(
    client: httpx.AsyncClient, path: str, coding: str
) -> None:
    whole, text = await raw(client, path, Accept_Encoding="identity")
    small, body = await raw(client, path, Accept_Encoding=coding)
    if len(text) < MIN_BYTES:
        assert ("content-encoding" in small.headers, body) == (False, text)
    else:
        assert small.headers["content-encoding"] == coding
        assert len(body) < len(text)
        assert plain(body, coding) == text
    assert int(small.headers["content-length"]) == len(body)
    for one in (whole, small):
        assert "Accept-Encoding" in one.headers["vary"].split(", ")
        assert one.headers["cache-control"] == "no-cache"
    assert small.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accepted", ["identity", "gzip", "zstd, gzip;q=0.5"])
async def test_head_has_the_headers_of_get(client: httpx.AsyncClient, path: str, accepted: str) -> None:
    got, _ = await raw(client, path, Accept_Encoding=accepted)
    head, _ = await raw(client, path, "HEAD", Accept_Encoding=accepted)
    assert (head.status_code, head.headers.multi_items()) == (got.status_code, got.headers.multi_items())


@pytest.mark.parametrize("path", ["/", "/v1/reports/latest.json", "/v1/reports/2017-01-28/revisions/1.html"])
async def test_each_coding_has_a_tag_that_is_found_with_every_coding(client: httpx.AsyncClient, path: str) -> None:
    tags = {}
    for coding in ("identity", "gzip", "zstd"):
        response, _ = await raw(client, path, Accept_Encoding=coding)
        tags[coding] = response.headers["etag"]
    assert tags["gzip"] == tags["zstd"] == f"W/{tags['identity']}", "strong only for the bytes themselves"
    for tag in set(tags.values()):
        for coding in ("identity", "gzip", "zstd", "*"):
            response, body = await raw(client, path, Accept_Encoding=coding, If_None_Match=f'"x", {tag}')
            assert (response.status_code, body, response.headers["etag"]) == (304, b"", tag)
            assert "content-encoding" not in response.headers
            assert "Accept-Encoding" in response.headers["vary"]
    response, body = await raw(client, path, Accept_Encoding="gzip", If_None_Match="*")
    assert (response.status_code, body) == (304, b"")


async def test_a_problem_is_not_cached_without_validation(client: httpx.AsyncClient) -> None:
    for path in ("/v1/reports/1", "/reports/1", "/v1/reports?x=1"):
        assert (await client.get(path)).headers["cache-control"] == "no-cache"


async def test_a_client_that_refuses_all_codings_gets_406(client: httpx.AsyncClient) -> None:
    for accepted in ("identity;q=0", "*;q=0", "br, identity;q=0"):
        response = await client.get("/v1/reports", headers={"Accept-Encoding": accepted})
        assert_problem(response, 406, "not-acceptable")
        assert response.headers["vary"] == "Accept-Encoding"


async def test_a_small_body_is_compressed_only_if_the_client_refuses_it_as_it_is(client: httpx.AsyncClient) -> None:
    response, body = await raw(client, "/v1/reports/1", Accept_Encoding="gzip")
    assert (response.status_code, "content-encoding" in response.headers) == (404, False)
    refusing, smaller = await raw(client, "/v1/reports/1", Accept_Encoding="gzip, identity;q=0")
    assert refusing.headers["content-encoding"] == "gzip"
    assert gzip.decompress(smaller) == body


def application(response: Any) -> httpx.AsyncClient:
    """A client of one route that makes this response."""

    async def endpoint(request: Request) -> Response:
        made: Response = response(request)
        return made

    route = Route("/", Compression(endpoint_app(endpoint), RenderCache()))
    return httpx.AsyncClient(transport=httpx.ASGITransport(route.app), base_url="http://service")


def endpoint_app(endpoint: Any) -> Any:
    return Route("/", endpoint).app


@pytest.mark.parametrize(
    ("media_type", "headers"),
    [
        ("application/zip", {}), ("text/event-stream", {}), ("image/png", {}), ("application/octet-stream", {}),
        ("text/html", {"Cache-Control": "no-store"}), ("text/html", {"Cache-Control": "private, max-age=1"}),
        ("text/html", {"Cache-Control": "no-transform"}), ("text/html", {"Set-Cookie": "a=b"}),
        ("text/html", {"Content-Encoding": "br"}),
    ],
)  # fmt: skip
async def test_what_is_compressed_already_or_not_for_everyone_is_sent_as_it_is(
    media_type: str, headers: Mapping[str, str]
) -> None:
    async with application(
        lambda _: Response(TEXT, headers={"ETag": '"x"', **headers}, media_type=media_type)
    ) as client:
        response, body = await raw(client, "/", Accept_Encoding="gzip, zstd")
    assert (body, response.headers["etag"]) == (TEXT, '"x"')
    assert response.headers.get("content-encoding") == headers.get("Content-Encoding")
    assert "vary" not in response.headers


async def _pieces() -> AsyncIterator[bytes]:
    for piece in (b"week,geoid\n", TEXT, b"", TEXT * (THREAD_BYTES // len(TEXT) + 1)):
        yield piece


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_body_in_pieces_is_compressed_as_a_stream(coding: str) -> None:
    async with application(lambda _: StreamingResponse(_pieces(), media_type="text/csv")) as client:
        response, body = await raw(client, "/", Accept_Encoding=coding)
        assert response.headers["content-encoding"] == coding
        assert "content-length" not in response.headers
        assert plain(body, coding) == b"".join([piece async for piece in _pieces()])
        unchanged, text = await raw(client, "/", Accept_Encoding="identity")
    assert ("content-encoding" in unchanged.headers, text) == (False, plain(body, coding))


async def test_a_body_is_compressed_once_and_a_large_one_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def compress(body: bytes) -> bytes:
        threads.append(threading.get_ident())
        return gzip.compress(body)

    monkeypatch.setitem(compression._WHOLE, "gzip", compress)
    large = TEXT * (THREAD_BYTES // len(TEXT) + 1)
    for body, in_loop in ((TEXT, True), (large, False)):
        threads.clear()
        async with application(lambda request, body=body: tagged(request, body, "text/csv")) as client:
            sent = {(await raw(client, "/", Accept_Encoding="gzip"))[1] for _ in range(3)}
        assert {gzip.decompress(one) for one in sent} == {body}
        assert [one == threading.get_ident() for one in threads] == [in_loop]


async def test_an_endpoint_that_fails_before_its_body_sends_nothing() -> None:
    sent: list[Any] = []

    async def failing(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError):
        await Compression(failing, RenderCache())({"type": "http", "headers": []}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert sent == []
