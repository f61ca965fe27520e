"""Compresses the responses to readers with gzip or zstd, as Accept-Encoding prefers (RFC 9110, section 12.5.3).

Compression next to a secret can reveal the secret (BREACH). Pages and reports have none, and no cookies: everything is
public. A response that is not for everyone has `no-store`, `private` or a cookie, and is not compressed.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.publisher.site.render_cache import RenderCache
from services.runtime.negotiation import IDENTITY, coding
from services.runtime.problems import problem

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS: Final = ("zstd", "gzip")
"""In the order of preference."""
MIN_BYTES = 1_000
"""A smaller body is sent unchanged: with its headers, it fits in one packet anyway."""
THREAD_BYTES = 100_000
"""A larger piece is compressed in a thread: 100 kB take a few milliseconds."""
CACHE_BYTES = 8_000_000
"""The maximum total size of the compressed bodies in memory."""
_GZIP_LEVEL, _ZSTD_LEVEL = 6, 6
_GZIP_FORMAT = 31
"""zlib's `wbits` for the largest window with a gzip header."""
_TYPES = ("text/", "application/json", "application/geo+json", "application/xml", "image/svg+xml")
_SUFFIXES = ("+json", "+xml")
_NOT_FOR_ALL = ("no-store", "private", "no-transform")
_REFUSED = "The response has the content coding zstd, gzip or identity; Accept-Encoding must allow one of them."


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Compression:
    """The responses of an application, compressed. A body that was compressed before is taken from the cache."""

    def __init__(self, app: ASGIApp, cache: RenderCache) -> None:
        self._app = app
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond 406 if the client refuses every coding, else call the application."""
        headers = Headers(scope=scope)
        accepted = headers.getlist("accept-encoding")
        chosen = coding(accepted, CODINGS)
        if chosen is None:
            refusal = problem(406, "not-acceptable", _REFUSED, {"Vary": "Accept-Encoding"})
            await refusal(scope, receive, send)
        else:
            smallest = 0 if coding(accepted, ()) is None else MIN_BYTES
            tags = ",".join(headers.getlist("if-none-match"))
            response = _Response(send, chosen, smallest, tags, self._cache, is_head=scope.get("method") == "HEAD")
            await self._app(scope, receive, response)


class _Response:
    """The messages of one response. Its head is sent with the first part of its body."""

    def __init__(
        self, send: Send, chosen: str, smallest: int, known_tags: str, cache: RenderCache, *, is_head: bool
    ) -> None:
        """`smallest`: bodies below this size are not compressed. `known_tags`: If-None-Match of the request."""
        self._is_head = is_head
        self._send = send
        self._coding = chosen
        self._smallest = smallest
        self._known_tags = known_tags
        self._cache = cache
        self._start: Message | None = None
        self._compressor: _Compressor | None = None

    async def __call__(self, message: Message) -> None:
        """Send a message of the application."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._start is not None:
            start, self._start = self._start, None
            await self._begin(start, message)
        else:
            await self._continue(message)

    async def _begin(self, start: Message, first: Message) -> None:
        headers = MutableHeaders(raw=start["headers"])
        body, is_whole = first.get("body", b""), not first.get("more_body", False)
        if start["status"] == 304:
            self._confirm(headers)
        elif _is_compressible(start["status"], headers):
            headers.add_vary_header("Accept-Encoding")
            if self._coding != IDENTITY and not (is_whole and len(body) < self._smallest):
                _mark(headers, self._coding)
                if is_whole:
                    body = await self._compressed(body)
                    headers["Content-Length"] = str(len(body))
                elif not self._is_head:
                    self._compressor = _compressor(self._coding)
        start["headers"] = headers.raw
        await self._send(start)
        await self._continue({**first, "body": body})

    def _confirm(self, headers: MutableHeaders) -> None:
        """Complete a 304. Its entity tag is the one that the client has: weak for a compressed body, else strong."""
        headers.add_vary_header("Accept-Encoding")
        if (tag := headers.get("etag")) and f"W/{tag}" in self._known_tags:
            headers["ETag"] = f"W/{tag}"

    async def _continue(self, message: Message) -> None:
        if self._compressor is not None:
            body, is_last = message.get("body", b""), not message.get("more_body", False)
            piece = await _off_loop(len(body), self._compressor.compress, body)
            message = {**message, "body": piece + (self._compressor.flush() if is_last else b"")}
        await self._send(message)

    async def _compressed(self, body: bytes) -> bytes:
        """The whole body, compressed. The key is its digest: equal bytes have equal compressed bytes."""
        key = f"{self._coding} {hashlib.sha256(body).hexdigest()}"
        done = self._cache.get(key)
        if done is None:
            done = await _off_loop(len(body), _WHOLE[self._coding], body)
            self._cache.put(key, done)
        return done


def _is_compressible(status: int, headers: Headers) -> bool:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    cached = headers.get("cache-control", "").lower()
    return (
        status not in (204, 206)
        and "content-encoding" not in headers
        and "set-cookie" not in headers
        and not any(word in cached for word in _NOT_FOR_ALL)
        and media_type != "text/event-stream"  # a compressor holds events back
        and (media_type.startswith(_TYPES) or media_type.endswith(_SUFFIXES))
    )


def _mark(headers: MutableHeaders, chosen: str) -> None:
    """Set the coding. The entity tag becomes weak: the compressed bytes depend on the version of the compressor."""
    headers["Content-Encoding"] = chosen
    del headers["Content-Length"]
    if (tag := headers.get("etag")) and not tag.startswith("W/"):
        headers["ETag"] = f"W/{tag}"


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def _zstd(body: bytes) -> bytes:
    return zstd.compress(body, _ZSTD_LEVEL)


_WHOLE: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": _gzip, "zstd": _zstd}


def _compressor(chosen: str) -> _Compressor:
    """A compressor of a body that arrives in pieces."""
    if chosen == "zstd":
        return zstd.ZstdCompressor(level=_ZSTD_LEVEL)
    return zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)


async def _off_loop(size: int, compress: Callable[[bytes], bytes], body: bytes) -> bytes:
    """Compress a large piece in a thread, so that other requests proceed meanwhile."""
    return await asyncio.to_thread(compress, body) if size > THREAD_BYTES else compress(body)
