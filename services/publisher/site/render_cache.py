"""Caches rendered revisions in memory. A revision never changes, so it is canonicalized once for all its readers."""

from __future__ import annotations

from collections import OrderedDict

MAX_BYTES = 16_000_000
"""The maximum total size of the cached bodies, in bytes."""


class RenderCache:
    """Least recently used bodies, by a key that changes whenever the body may change."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """The body, or None."""
        if (body := self._bodies.get(key)) is not None:
            self._bodies.move_to_end(key)
        return body

    def put(self, key: str, body: bytes) -> None:
        """Store a body, and evict the least recently used ones until all fit. A body above the limit is not stored."""
        self._bytes += len(body) - len(self._bodies.pop(key, b""))
        self._bodies[key] = body
        while self._bytes > self._max_bytes:
            _, evicted = self._bodies.popitem(last=False)
            self._bytes -= len(evicted)
