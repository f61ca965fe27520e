"""Makes the links of a page or feed relative, so that they work without a web server. Pure.

The pages are rendered from templates that escape all data: `<` begins a tag, and each quote in a tag has its pair.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import partial
from urllib.parse import urljoin

from services.publisher.static_site.names import relative

REWRITTEN = ("text/html", "application/atom+xml")
"""The media types with links. Digests cover the bytes of reports, so these are never changed."""

_WITHOUT = "t[dhr]|d[dlt]|li|p|ul|span|div|svg|g|rect|circle|path|text|title|line|polyline"
"""Frequent elements that have no link. Skipping them saves most of the time."""
_TAG = re.compile(rf"""<(?!(?:{_WITHOUT})[\s>])[a-zA-Z](?:[^<>"']++|"[^"]*+"|'[^']*+')*+>""")
_LINK = re.compile(r"""\s((?:xlink:)?href|src|action)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_EXTERNAL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//").match
_HEAD = re.compile(r"<head>\s*(?:<meta charset=[^>]*>)?")
_ORIGIN = "http://site"


def rewrite(body: str, address: str, file: str, resolve: Callable[[str], str | None]) -> str:
    """The page at `address` with links relative to `file`.

    `resolve` is called with each internal address, and returns its file, or None if there is none: then the text of
    the link remains, without a target. External links, and links within the page, remain.
    """

    def attribute(match: re.Match[str]) -> str:
        name, value = match[1], html.unescape(match[2] if match[2] is not None else match[3]).strip()
        if value.startswith("#") or _EXTERNAL(value):
            return match[0]
        internal, hash_sign, fragment = value.partition("#")
        if not internal.startswith("/"):
            internal = urljoin(f"{_ORIGIN}{address}", internal).removeprefix(_ORIGIN)
        target = resolve(internal)
        return "" if target is None else f' {name}="{html.escape(relative(target, file) + hash_sign + fragment)}"'

    return _TAG.sub(partial(_tag, attribute), body)


def _tag(attribute: Callable[[re.Match[str]], str], match: re.Match[str]) -> str:
    """A tag with its links replaced. A `link` without a target is removed, because it has no text."""
    tag = match[0]
    changed = _LINK.sub(attribute, tag)
    return "" if tag.startswith("<link ") and _LINK.search(tag) and not _LINK.search(changed) else changed


def with_policy(body: str, policy: str) -> str:
    """A page that has its content security policy within, because a file has no headers.

    `frame-ancestors` has an effect only as a header.
    """
    parts = [part for part in map(str.strip, policy.split(";")) if part and not part.startswith("frame-ancestors")]
    if not parts:
        return body
    meta = f'\n<meta http-equiv="Content-Security-Policy" content="{html.escape("; ".join(parts), quote=False)}">'
    return _HEAD.sub(lambda match: match[0] + meta, body, count=1)
