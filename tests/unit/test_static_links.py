"""services.publisher.static_site.links: links that need no server."""

from __future__ import annotations

import pytest

from services.publisher.site import rendering
from services.publisher.static_site.links import rewrite, with_policy
from services.publisher.static_site.names import file_of


def _resolve(address: str) -> str | None:
    return None if address.startswith("/absent") else file_of(address)


def _rewritten(body: str) -> str:
    return rewrite(body, "/reports/2017-01-28", "reports/2017-01-28/index.html", _resolve)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ('<a href="/">', '<a href="../../index.html">'),
        ('<a rel="next" href="/reports/2017-02-04">', '<a rel="next" href="../../reports/2017-02-04/index.html">'),
        ("<a href='/reports'>", '<a href="../../reports/index.html">'),
        ('<A HREF="/reports">', '<A HREF="../../reports/index.html">'),
        ('<a href="/method#what">', '<a href="../../method/index.html#what">'),
        ('<a href="/v1/series?geoid=32003">', '<a href="../../v1/series/32003.json">'),
        ('<a href="2017-02-04">', '<a href="../../reports/2017-02-04/index.html">'),
        ('<a href="?before=2017-02-04">', '<a href="../../reports/2017-01-28/before-2017-02-04/index.html">'),
        ('<a title="a > b" href="/reports">', '<a title="a > b" href="../../reports/index.html">'),
        ('<img src="/map.svg"/>', '<img src="../../map.svg"/>'),
        ('<use xlink:href="/map.svg#nv"></use>', '<use xlink:href="../../map.svg#nv"></use>'),
        ('<a href="#codes">', '<a href="#codes">'),
        ('<a href="https://example.org/reports?a=1&amp;b=2">', '<a href="https://example.org/reports?a=1&amp;b=2">'),
        ('<a href="//example.org/">', '<a href="//example.org/">'),
        ('<a href="mailto:a@example.org">', '<a href="mailto:a@example.org">'),
        ('<a data-href="/reports">', '<a data-href="/reports">'),
        ('<a rel="next" href="/absent">', '<a rel="next">'),
        ('<a href="/x?unknown=1&amp;y=2">', "<a>"),
        ('<a href="/../../etc/passwd">', "<a>"),
        ('<link rel="next" href="/absent">', ""),
        ('<link rel="canonical" href="/reports">', '<link rel="canonical" href="../../reports/index.html">'),
        ("<td>", "<td>"),
        ('<p title="href=&#34;/reports&#34;">', '<p title="href=&#34;/reports&#34;">'),
    ],
)
def test_a_tag(tag: str, expected: str) -> None:
    assert _rewritten(f"a {tag}b") == f"a {expected}b"


def test_text_that_looks_like_a_link_remains() -> None:
    for text in (
        '<p>write href="/reports" or src="/x"</p>',
        "&lt;a href=&#34;/reports&#34;&gt;",
        "<style>a > b { }</style>",
    ):
        assert _rewritten(text) == text


def test_an_unfinished_tag_takes_linear_time() -> None:
    body = '<a href="' + "a" * 200_000 + "<b" * 20_000
    assert _rewritten(body) == body


def test_a_feed_is_rewritten_too() -> None:
    entry = '<link rel="alternate" href="/reports" /><link rel="enclosure" href="/absent.json" />'
    assert rewrite(entry, "/feed.atom", "feed.atom", _resolve) == '<link rel="alternate" href="reports/index.html" />'


def test_a_page_has_its_policy_within_except_for_what_only_a_header_can_say() -> None:
    page = rendering.list_page([], None).decode()
    [before, after] = with_policy(page, rendering.content_security_policy()).split("\n<meta http-equiv=", 1)
    assert before.endswith('<meta charset="utf-8">'), "before the style sheet"
    meta = after.partition(">")[0]
    assert meta.startswith("\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors" not in meta
    assert with_policy(page, "") == page
