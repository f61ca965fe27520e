"""services.publisher.site.render_cache: bounded by size; the least recently used bodies are evicted."""

from __future__ import annotations

from services.publisher.site.render_cache import RenderCache


def test_a_body_is_found_by_its_key() -> None:
    cache = RenderCache(10)
    assert cache.get("a") is None
    cache.put("a", b"1234")
    assert cache.get("a") == b"1234"


def test_the_least_recently_used_bodies_are_evicted() -> None:
    cache = RenderCache(10)
    cache.put("a", b"1234")
    cache.put("b", b"1234")
    assert cache.get("a") is not None
    cache.put("c", b"1234")
    assert [cache.get(key) for key in "abc"] == [b"1234", None, b"1234"]


def test_a_body_above_the_limit_is_not_stored_and_a_replaced_one_counts_once() -> None:
    cache = RenderCache(10)
    cache.put("a", b"x" * 11)
    assert cache.get("a") is None
    for _ in range(3):
        cache.put("b", b"12345678")
    cache.put("c", b"12")
    assert (cache.get("b"), cache.get("c")) == (b"12345678", b"12")
